"""Routes for upstream: one text for each, bounded numbers, nothing on evidence that can be forged."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synguard.fleet.announcer import PER_MINUTE, Announcer
from synguard.fleet.routes import Route, exabgp_command, from_json, gobgp_arguments
from synguard.fleet.upstream import FloodedPorts, wanted_routes
from synguard.jsonable import jsonable
from synguard.model import Action, Ban, Evidence, Origin, Scope, Signal
from synguard.policy.fleet import Bgp

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
SOURCE, HERE = ip_network("203.0.113.5/32"), ip_network("192.0.2.2/32")
FLOOD = Route(None, HERE, 80, syns_only=True, rate_bytes=1_000_000)


def test_a_flood_is_limited_by_destination_port_and_syn() -> None:
    assert exabgp_command(FLOOD, announce=True) == (
        "announce flow route { match { destination 192.0.2.2/32; protocol tcp; destination-port =80; "
        "tcp-flags [ syn&!=ack ]; } then { rate-limit 1000000; } }"
    )
    assert " ".join(gobgp_arguments(FLOOD, announce=False)) == (
        "global rib del -a ipv4-flowspec match destination 192.0.2.2/32 protocol tcp destination-port ==80 "
        "tcp-flags S&!=A then rate-limit 1000000"
    )


def test_a_blackhole_is_an_ordinary_route_with_the_well_known_community() -> None:
    hole = Route(None, HERE, next_hop="192.0.2.254")
    assert exabgp_command(hole, announce=True) == (
        "announce route 192.0.2.2/32 next-hop 192.0.2.254 community [65535:666]"
    )


@pytest.mark.parametrize(
    "parts", [{}, {"source": SOURCE, "destination": ip_network("2001:db8::/64")}, {"source": SOURCE, "next_hop": "::1"}]
)
def test_a_route_that_would_match_too_much_cannot_be_made(parts: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="names"):
        Route(**parts)  # type: ignore[arg-type]  # that is the test


@given(st.integers(1, 65535), st.booleans(), st.integers(0, 10**9))
def test_routes_travel_to_the_feeder_and_back(port: int, syns_only: bool, rate: int) -> None:
    route = Route(SOURCE, HERE, port, syns_only, rate)
    assert from_json(jsonable(route)) == route


def routes(count: int) -> dict[Route, float]:
    return {Route(ip_network(f"203.0.{n >> 8}.{n & 255}/32"), HERE): 1e9 for n in range(count)}


def test_no_more_routes_are_announced_than_allowed_and_the_first_win() -> None:
    announcer = Announcer(most_routes=3, refresh_s=60)
    announcer.want(routes(10))
    assert [step.route for step in announcer.steps(0.0)] == list(routes(3))
    assert announcer.refused == 7


def test_two_rates_of_one_match_are_one_route() -> None:
    announcer = Announcer(most_routes=10, refresh_s=60)
    announcer.want({FLOOD: 1e9, FLOOD.matched: 1e9})
    assert [step.route for step in announcer.steps(0.0)] == [FLOOD]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 1500)), max_size=30))
def test_announcements_of_any_minute_are_bounded_whatever_is_wanted(turns: list[tuple[int, int]]) -> None:
    announcer, now, told = Announcer(most_routes=1000, refresh_s=10), 0.0, []
    for wait, count in turns:
        now += wait
        announcer.want(routes(count) if count % 2 else dict(reversed(routes(count).items())))
        for step in announcer.steps(now):
            announcer.done(step, now)
            told += [now] * step.announce
        assert sum(at > now - 60 for at in told) <= PER_MINUTE
        assert len(announcer.announced) <= 1000


def test_a_route_ends_at_its_deadline_and_is_told_again_before() -> None:
    announcer = Announcer(most_routes=10, refresh_s=30)
    announcer.want({FLOOD: 100.0})
    for now, expected in ((0.0, [True]), (10.0, []), (31.0, [True]), (101.0, [False]), (102.0, [])):
        steps = announcer.steps(now)
        assert [step.announce for step in steps] == expected
        for step in steps:
            announcer.done(step, now)


def test_what_a_speaker_did_not_take_is_said_again() -> None:
    announcer = Announcer(most_routes=10, refresh_s=30)
    announcer.want({FLOOD: 100.0})
    assert announcer.steps(0.0) == announcer.steps(1.0) != []


def ban(signal: Signal, target: str = "203.0.113.5/32") -> Ban:
    return Ban(
        id="a1",
        target=ip_network(target),
        scope=Scope.NEW if signal.forgeable else Scope.ALL,
        action=Action.DROP,
        origin=Origin.AUTO,
        policy="web",
        reason="",
        created_at=NOW,
        expires_at=NOW + timedelta(seconds=60),
        evidence=(Evidence(signal, 700.0, 400.0),),
    )


SETTINGS = Bgp.model_validate(
    {
        "speaker": "gobgp",
        "destinations": ["192.0.2.2", "2001:db8::2"],
        "sources": "discard",
        "flood_above": 10_000,
    }
)


def wanted(bans: list[Ban], flooded: Collection[int] = ()) -> dict[Route, float]:
    return wanted_routes(SETTINGS, bans=bans, flooded=flooded, blackholes={}, now=NOW)


def test_only_sources_on_handshake_proven_evidence_are_announced() -> None:
    assert wanted([ban(Signal.SYN_RATE), ban(Signal.CONNECTIONS, "203.0.113.6/32")]) == {
        Route(ip_network("203.0.113.6/32"), HERE): 60.0
    }


def test_a_flood_past_the_configured_rate_limits_syns_to_each_destination() -> None:
    ports = FloodedPorts(SETTINGS.flood_above)
    assert not ports.follow([80], 9_999, calm=False)
    assert [str(route) for route in wanted([], ports.follow([80], 10_000, calm=False))] == [
        "to 192.0.2.2/32 port 80 SYN and not ACK: at most 1000000 bytes/s",
        "to 2001:db8::2/128 port 80 SYN and not ACK: at most 1000000 bytes/s",
    ]


def test_a_limit_upstream_that_works_does_not_end_itself() -> None:
    """Once limited, fewer SYNs arrive and no queue is full: the route went, the flood and the route came back."""
    ports = FloodedPorts(10_000)
    assert ports.follow([80], 50_000, calm=False) == {80}
    assert ports.follow([], 400, calm=False) == {80}
    assert ports.follow([443], 20_000, calm=False) == {80, 443}
    assert not ports.follow([], 400, calm=True)


def test_no_flood_is_limited_where_no_rate_is_configured() -> None:
    assert not FloodedPorts(0).follow([80], 1e9, calm=False)


def test_blackholes_come_first() -> None:
    hole = Route(None, HERE, next_hop="192.0.2.254")
    found = wanted_routes(
        SETTINGS,
        bans=[ban(Signal.CONNECTIONS)],
        flooded=[80],
        blackholes={hole: NOW + timedelta(hours=1)},
        now=NOW,
    )
    assert next(iter(found)) == hole
