"""Which sockets a ban has made useless."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network

import pytest

from synguard.addresses import Network
from synguard.agent.blocked_sockets import blocked_rows, dead_connections
from synguard.decision.bans import ActiveBans
from synguard.model import Scope
from synguard.readings import TcpState
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
