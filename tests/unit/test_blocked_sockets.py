"""Which sockets a ban has made useless."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

import numpy as np
import pytest

from synguard.addresses import Network
from synguard.agent.blocked_sockets import UNANSWERED_S, Leftovers, blocked_rows, dead_connections
from synguard.decision.bans import ActiveBans
from synguard.model import Action, Scope
from synguard.readings import SocketTable, TcpState
from tests.support.manual_clock import START
from tests.support.traffic import table, together
from tests.unit.test_active_bans import ban


def left(active_bans: ActiveBans, free: frozenset[Network] = frozenset()) -> dict[int, int]:
    crowd = together(
        table({"198.51.100.7": 3, "198.51.100.8": 2, "203.0.113.1": 4, "2001:db8::1": 5}, port=80),
        table({"198.51.100.7": 6}, port=443),
    )
    cleared = blocked_rows(crowd, active_bans.ban_filter(START), free)
    ports = cleared.local_port.tolist()
    return {port: ports.count(port) for port in set(ports)}


def test_only_rows_that_a_ban_stops_on_their_very_port_are_cleared() -> None:
    assert left(ActiveBans([ban("198.51.100.7")])) == {80: 3}
    assert left(ActiveBans([ban("198.51.100.7", ports=())])) == {80: 3, 443: 6}
    assert left(ActiveBans([ban("198.51.100.0/24", Scope.ALL)])) == {80: 5, 443: 6}
    assert left(ActiveBans([ban("2001:db8::/64")])) == {80: 5}
    assert left(ActiveBans([])) == {}


def test_a_peer_who_is_let_through_may_finish_its_handshake() -> None:
    assert left(ActiveBans([ban("198.51.100.0/24")]), frozenset({ip_network("198.51.100.8")})) == {80: 3}


def test_a_expired_ban_clears_nothing() -> None:
    assert left(ActiveBans([ban("198.51.100.7", lasts_s=-timedelta(seconds=1).total_seconds())])) == {}


@pytest.mark.parametrize(
    ("scope", "state", "free", "freed"),
    [
        (Scope.ALL, TcpState.ESTABLISHED, (), 5),
        (Scope.ALL, TcpState.CLOSE_WAIT, (), 5),
        (Scope.ALL, TcpState.ESTABLISHED, ("198.51.100.7/32",), 2),
        (Scope.ALL, TcpState.TIME_WAIT, (), 0),
        (Scope.ALL, TcpState.FIN_WAIT2, (), 0),
        (Scope.NEW, TcpState.ESTABLISHED, (), 0),
    ],
)
def test_connections_are_useless_where_everything_of_their_source_is_stopped(
    scope: Scope, state: TcpState, free: tuple[str, ...], freed: int
) -> None:
    crowd = table({"198.51.100.7": 3, "198.51.100.8": 2, "203.0.113.1": 4}, state=state)
    active_bans = ActiveBans([ban("198.51.100.0/24", scope, ports=())])
    allowed = frozenset(map(ip_network, free))
    assert len(dead_connections(crowd, active_bans.ban_filter(START), allowed)) == freed


def test_half_open_sockets_that_no_one_has_answered_are_freed_once_their_target_is_challenged() -> None:
    """They filled the queue for another minute, and the message of the incident's end came as late."""

    def seen(*cookies: int) -> SocketTable:
        counts = {"198.51.100.7": 2, "198.51.100.8": 1, "203.0.113.1": 1, "2001:db8::1": 1}
        return replace(table(counts, port=80), cookie=np.array(cookies, np.uint64))

    leftovers, allowed = Leftovers(), [ip_network("198.51.100.8")]
    challenges = [replace(ban("198.51.100.0/24"), action=Action.CHALLENGE), replace(ban("2001:db8::/64", ports=(443,)))]

    def freed(*cookies: int, at: float) -> list[int]:
        return leftovers.of(seen(*cookies), challenges, allowed, at).cookie.tolist()

    assert freed(1, 2, 3, 4, 5, at=10.0) == []
    assert freed(1, 2, 3, 4, 5, at=10.0 + UNANSWERED_S - 0.1) == []
    assert freed(1, 6, 3, 4, 5, at=10.0 + UNANSWERED_S) == [1], "one is new, one protected, one of no target, one port"
    assert freed(0, 6, 3, 4, 5, at=10.0 + 2 * UNANSWERED_S) == [6]
    assert leftovers.of(seen(0, 6, 3, 4, 5), [], allowed, 20.0).cookie.tolist() == []
    assert freed(0, 6, 3, 4, 5, at=30.0) == [], "what was seen in an earlier challenge says nothing"


def test_an_ipv6_address_between_two_targets_is_neither() -> None:
    """Its network half is of one of those let through, its host half of the other: it passed for one of them."""
    rows = table({"2001:db8:1::1": 1, "2001:db8:1::2": 1, "2001:db8:2::2": 1}, port=80)
    let_through = [ip_network("2001:db8:1::1"), ip_network("2001:db8:2::2")]
    left_over = blocked_rows(rows, ActiveBans([ban("2001:db8::/32")]).ban_filter(START), let_through)
    assert left_over.remote_low.tolist() == [2]
