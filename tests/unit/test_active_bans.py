"""What stands, who came back, how long bans last, and what the budget allows."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.decision.ban_times import OFFENDERS_REMEMBERED, RepeatOffenders, ban_seconds
from synguard.decision.bans import ActiveBans
from synguard.model import Action, Ban, Evidence, Origin, Scope, Signal
from synguard.policy.models import BanTimes
from tests.support.manual_clock import START

HANDSHAKES = (Evidence(Signal.CONNECTIONS, 900, 300, 1),)
"""Who speaks against a target by them is served: a ban on them lets no served client through."""
NEW_80 = (Scope.NEW, (80,))


def ban(
    target: str, scope: Scope = Scope.NEW, ports: tuple[int, ...] = (80,), lasts_s: float = 60, id_: str = "b1"
) -> Ban:
    return Ban(
        id=id_, target=ip_network(target), scope=scope, action=Action.DROP, origin=Origin.AUTO, policy="test",
        reason="", created_at=START, expires_at=START + timedelta(seconds=lasts_s),
        ports=() if scope is Scope.ALL else ports,
    )  # fmt: skip


def holds(active_bans: ActiveBans, target: str, scope: Scope = Scope.NEW, ports: tuple[int, ...] = (80,)) -> bool:
    return active_bans.covering(ip_network(target), scope, ports, START) is not None


def test_ports_on_which_nobody_is_banned_any_more_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One who went from port to port left columns of each as long as the agent ran, and ticks read them all."""
    monkeypatch.setattr("synguard.decision.banned_networks._WASTE", 1)
    active_bans = ActiveBans()
    for number in range(20):
        now = START + timedelta(seconds=60 * number)
        one = replace(ban("192.0.2.1", ports=(number + 1,), id_=f"b{number}"), created_at=now)
        one = replace(one, expires_at=now + timedelta(seconds=60))
        active_bans.add(one)
        ((keys, *_),) = active_bans.ban_filter(now).new.values()
        assert [int(key) & 0xFFFF for key in keys] == [number + 1]
        active_bans.remove(one, now + timedelta(seconds=60))
        (rows,) = active_bans._rows.values()
        assert len(rows._keys) <= 2


def test_there_are_no_more_columns_where_bans_name_more_ports() -> None:
    """A tick looked at the columns of each port: 83 ms for one more ban upon 20,000 that named a port each."""
    bans = [ban(f"198.51.{n >> 8}.{n & 255}", ports=(n + 1, n + 2000), id_=f"b{n}") for n in range(1000)]
    active_bans = ActiveBans(bans)
    active_bans.add(ban("192.0.2.1", ports=(9000,)))
    assert len(active_bans.ban_filter(START).new) == len(active_bans._rows) == 1


@pytest.mark.parametrize(
    ("active_bans", "asked", "ban_filter"),
    [
        (ban("198.51.100.7"), ("198.51.100.7", *NEW_80), True),
        (ban("198.51.100.0/24"), ("198.51.100.7", *NEW_80), True),
        (ban("198.51.100.7"), ("198.51.100.0/24", *NEW_80), False),
        (ban("198.51.100.7"), ("198.51.100.8", *NEW_80), False),
        (ban("198.51.100.7"), ("198.51.100.7", Scope.ALL, ()), False),
        (ban("198.51.100.7", Scope.ALL), ("198.51.100.7", *NEW_80), True),
        (ban("198.51.100.7"), ("198.51.100.7", Scope.NEW, (80, 443)), False),
        (ban("198.51.100.7", ports=(80, 443)), ("198.51.100.7", *NEW_80), True),
        (ban("198.51.100.7", ports=()), ("198.51.100.7", *NEW_80), True),
        (ban("198.51.100.7"), ("198.51.100.7", Scope.NEW, ()), False),
        (ban("2001:db8::/56"), ("2001:db8::/64", *NEW_80), True),
        (ban("198.51.100.7", lasts_s=-1), ("198.51.100.7", *NEW_80), False),
    ],
)
def test_a_ban_holds_what_its_reach_covers(
    active_bans: Ban, asked: tuple[str, Scope, tuple[int, ...]], ban_filter: bool
) -> None:
    assert holds(ActiveBans([active_bans]), *asked) is ban_filter


def test_a_ban_that_lets_served_clients_through_does_not_cover_what_handshakes_speak_against() -> None:
    on_syns, member = ban("198.51.100.0/24", lasts_s=600), ip_network("198.51.100.16/28")
    on_handshakes = replace(ban("198.51.100.0/24", id_="refuses"), evidence=HANDSHAKES)
    bans = ActiveBans([on_syns])
    assert bans.covering(member, *NEW_80, START) == on_syns
    assert bans.covering(member, *NEW_80, START, for_served=True) is None
    bans = ActiveBans([on_syns, replace(on_handshakes, ports=(80, 81))])
    assert getattr(bans.covering(member, *NEW_80, START, for_served=True), "id", None) == "refuses"
    whole = ban("198.51.100.0/24", Scope.ALL)
    assert ActiveBans([whole]).covering(member, *NEW_80, START, for_served=True) == whole


def test_a_ban_takes_no_ports_of_one_that_refuses_served_clients_nor_that_of_it() -> None:
    on_syns = ban("198.51.100.0/24", ports=(443,))
    on_handshakes = replace(ban("198.51.100.0/24", ports=(8443,), id_="refuses"), evidence=HANDSHAKES)
    for old, fresh in ((on_syns, on_handshakes), (on_handshakes, on_syns)):
        assert ActiveBans([old]).with_ports_of(fresh, START, up_to_all=True) == fresh
    more = replace(on_handshakes, ports=(8080,))
    assert ActiveBans([on_handshakes]).with_ports_of(more, START, up_to_all=True).ports == (8080, 8443)


def test_the_longest_of_several_answers() -> None:
    bans = ActiveBans([ban("198.51.100.7", lasts_s=10), ban("198.51.100.0/24", lasts_s=100, id_="wide")])
    found = bans.covering(ip_network("198.51.100.7"), *NEW_80, START)
    assert found is not None
    assert found.id == "wide"


def test_a_renewed_ban_replaces_the_old_one_and_is_counted_once() -> None:
    bans = ActiveBans([ban("198.51.100.7"), ban("198.51.100.7", lasts_s=600, id_="b2")])
    assert bans.automatic == 1


def test_columns_name_the_banned_networks_by_width_port_and_reach() -> None:
    ban_filter = ActiveBans(
        [ban("198.51.100.0/24"), ban("2001:db8::/64", Scope.ALL, id_="b2"), ban("10.0.0.1", ports=(), id_="b3")]
    ).ban_filter(START)
    assert set(ban_filter.whole) == {(6, 64, False, False)}
    assert set(ban_filter.new) == {(4, 24, True, False), (4, 32, False, False)}
    keys, _, low = ban_filter.new[4, 24, True, False]
    assert int(low[0]) == 0xFFFF_C633_6400
    assert int(keys[0]) & 0xFFFF == 80


def test_a_ban_that_ends_soon_no_longer_hides_its_target_from_judgement() -> None:
    active_bans = ActiveBans([ban("198.51.100.7", lasts_s=60)])
    for seconds, hidden in ((49, 1), (51, 0)):
        ((keys, *_),) = active_bans.ban_filter(START + timedelta(seconds=seconds)).new.values()
        assert len(keys) == hidden


def test_served_clients_keep_their_way_through_the_bans_of_many_prefixes_until_these_end() -> None:
    """With more than 1,024 of them it was closed to these clients for the last ten seconds of each."""
    ends_at = START + timedelta(seconds=60)
    bans = ActiveBans(ban(f"10.{n >> 8}.{n & 255}.0/24", id_=f"b{n}") for n in range(1_100))
    bans.add(ban("192.0.2.0/24", lasts_s=3_600, id_="lasts"))
    for left, rows in ((9, 1_101), (1, 1_101), (0, 1), (-30, 1)):
        now = ends_at - timedelta(seconds=left)
        bans.ban_filter(now)
        assert sum(len(keys) for keys, *_ in bans.closed_prefixes(now).values()) == rows


def test_an_offender_who_comes_back_in_time_is_counted_on() -> None:
    first = ban("198.51.100.7")
    offenders = RepeatOffenders({})
    offenders.note(first)
    assert offenders.next_time(first.target, 3600, START + timedelta(minutes=59)) == 2
    assert offenders.next_time(first.target, 3600, START + timedelta(minutes=61)) == 1
    assert offenders.next_time(ip_network("198.51.100.8"), 3600, START) == 1


def test_offenders_are_bounded_and_the_longest_quiet_are_forgotten() -> None:
    offenders = RepeatOffenders({ip_network(i): (1, START) for i in range(OFFENDERS_REMEMBERED)})
    newcomer = ban("198.51.100.7")
    offenders.note(newcomer)
    assert offenders.next_time(newcomer.target, 3600, START) == 2
    assert offenders.next_time(ip_network(0), 3600, START) == 1


@given(st.integers(1, 10**9), st.booleans(), st.integers(0, 2**32))
def test_no_ban_outlasts_its_cap(nth: int, forgeable: bool, seed: int) -> None:
    times = BanTimes()
    seconds = ban_seconds(times, nth, forgeable=forgeable, chance=random.Random(seed))
    assert 1 <= seconds <= (times.cap_forgeable if forgeable else times.cap)


def test_bans_grow_for_those_who_come_back() -> None:
    times, chance = BanTimes(jitter=0), random.Random(7)
    lasted = [ban_seconds(times, nth, forgeable=False, chance=chance) for nth in range(1, 4)]
    assert lasted == [times.first, 2 * times.first, 4 * times.first]
