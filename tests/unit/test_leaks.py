"""Proof: banned but still arriving, and only then."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from synguard.agent.leak_monitor import likely_cause
from synguard.agent.leaks import AT_LEAST, MOST, OVER_S, QUIET_S, LeakDetector
from synguard.agent.new_sockets import GRACE, NewSockets
from synguard.decision.bans import ActiveBans
from synguard.enforcer.plane import Actual, Bypass, Delta
from synguard.enforcer.reconcile.delta import after
from synguard.model import Scope
from synguard.socket_table import SocketTable, TcpState
from tests.support.manual_clock import START
from tests.support.traffic import table, together
from tests.unit.test_active_bans import ban

ACCEPT = Bypass.of("iptables raw: rule 1 of PREROUTING is ahead of SYNGUARD, in whatever words", 4)
ACCEPT_6 = Bypass.of("ip6tables raw: rule 1 of PREROUTING is ahead of SYNGUARD, in whatever words", 6)


def leaking(proof: LeakDetector, since: float, count: int = AT_LEAST, over: float = OVER_S) -> float:
    """Let sockets of the banned target appear evenly; return when the last one did."""
    for nth in range(count):
        proof.saw("b", 1, "", since + over * nth / (count - 1))
    return since + over


def told(proof: LeakDetector, packets: Mapping[str, int], now: float) -> list[str]:
    return [leak.ban_id for leak in proof.read(packets, now)]


def test_a_target_that_arrives_while_its_counter_stands_still_is_told_once() -> None:
    proof = LeakDetector()
    assert told(proof, {"b": 7}, 0) == []
    last = leaking(proof, 1)
    assert proof.leaks == ()  # the counter has not been read since
    assert told(proof, {"b": 7}, last + 1) == ["b"]
    leaking(proof, last + 2)
    assert told(proof, {"b": 7}, last + 6) == []
    assert [leak.ban_id for leak in proof.leaks] == ["b"]


def test_a_counter_that_moves_ends_the_alarm_and_a_second_leak_of_the_same_ban_is_shown_but_not_told_again() -> None:
    proof = LeakDetector()
    proof.read({"b": 7}, 0)
    last = leaking(proof, 1)
    proof.read({"b": 7}, last + 1)
    proof.read({"b": 8}, last + 6)
    assert proof.leaks == ()
    last = leaking(proof, last + 7)
    assert told(proof, {"b": 8}, last + 1) == []
    assert len(proof.leaks) == 1


@pytest.mark.parametrize(
    ("count", "over", "packets"),
    [(AT_LEAST - 1, OVER_S, 7), (50, OVER_S / 2, 7), (50, OVER_S, 8)],
    ids=["a straggler or two", "one burst that raced the ban", "the counter moved"],
)
def test_no_leak(count: int, over: float, packets: int) -> None:
    proof = LeakDetector()
    proof.read({"b": 7}, 0)
    last = leaking(proof, 1, count, over)
    assert told(proof, {"b": packets}, last + 1) == []
    assert proof.leaks == ()


def test_a_leak_of_which_nothing_more_is_seen_and_one_whose_ban_ended_are_over() -> None:
    for packets, later in (({"b": 7}, QUIET_S + 1), ({}, 1.0)):
        proof = LeakDetector()
        proof.read({"b": 7}, 0)
        last = leaking(proof, 1)
        proof.read({"b": 7}, last)
        assert proof.leaks
        proof.read(packets, last + later)
        assert proof.leaks == ()


def test_a_ban_that_the_kernel_does_not_hold_is_told_of_elsewhere_and_memory_is_bounded() -> None:
    proof = LeakDetector()
    for nth in range(2 * MOST):
        proof.saw(f"unknown-{nth}", 9, "", 1)
    assert told(proof, {}, 9) == []
    many = {f"b{nth}": 0 for nth in range(2 * MOST)}
    proof.read(many, 10)
    for at in (11.0, 12.0, 14.0):
        for ban_id in many:
            proof.saw(ban_id, 1, "", at)
    assert len(proof.read(many, 15)) == MOST


def looked(newcomers: NewSockets, rows: SocketTable, active_bans: ActiveBans, seconds: float) -> dict[str, int]:
    found = newcomers.of("half-open", rows, active_bans, START + timedelta(seconds=seconds))
    return {one.id: count for one, count in found}


def test_a_socket_is_new_once_and_only_well_after_its_ban() -> None:
    newcomers, active_bans = NewSockets(), ActiveBans([ban("198.51.100.0/24")])
    young, settled = GRACE.total_seconds() / 2, GRACE.total_seconds()
    first = table({"198.51.100.7": 2})
    second = together(first, table({"198.51.100.8": 3}, first_remote_port=9000))
    assert looked(newcomers, first, active_bans, young) == {}
    assert looked(newcomers, second, active_bans, settled) == {}  # the look before was too soon after the ban
    assert looked(newcomers, second, active_bans, settled + 1) == {}  # they stay; nothing comes
    third = together(second, table({"198.51.100.8": 4}, first_remote_port=12_000))
    assert list(looked(newcomers, third, active_bans, settled + 2).values()) == [4]


def test_a_connection_that_closes_is_no_new_one() -> None:
    newcomers, active_bans = NewSockets(), ActiveBans([ban("198.51.100.0/24", Scope.ALL)])
    for seconds, state in enumerate((TcpState.ESTABLISHED, TcpState.ESTABLISHED, TcpState.TIME_WAIT), start=5):
        assert looked(newcomers, table({"198.51.100.7": 2}, state=state), active_bans, seconds) == {}


@pytest.mark.parametrize(
    ("target", "place", "foreign", "cause"),
    [
        ("198.51.100.7", "", (ACCEPT_6, ACCEPT), ACCEPT),
        ("2001:db8::/64", "", (ACCEPT, ACCEPT_6), ACCEPT_6),
        ("2001:db8::/64", "", (ACCEPT,), "foreign rules among ours"),
        ("198.51.100.7", "shop", (), "network namespace shop"),
        ("198.51.100.7", "", (), "a rule or chain ahead of ours"),
    ],
)
def test_the_likely_cause(target: str, place: str, foreign: tuple[str, ...], cause: str) -> None:
    assert cause in likely_cause(ban(target), place, foreign, "iptables-legacy -t raw -S")


def test_a_flowtable_is_asked_for_only_where_nothing_nearer_explains_it() -> None:
    asked = []

    def offloads() -> bool:
        asked.append(1)
        return True

    assert ACCEPT in likely_cause(ban("198.51.100.7"), "", (ACCEPT,), "true", offloads=offloads)
    assert asked == []
    assert "flowtable" in likely_cause(ban("198.51.100.7"), "", (), "true", offloads=offloads)


def test_a_change_of_ours_keeps_what_was_counted() -> None:
    """A ban that is extended must not look like one whose counter fell back."""
    one = ban("198.51.100.7")
    actual = after(Actual(), Delta(add=(one,)))
    assert after(actual, Delta(add=(one,), remove=(actual.bans[one.id],))).bans[one.id].hits == actual.bans[one.id].hits
