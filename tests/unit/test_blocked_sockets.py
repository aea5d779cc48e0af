"""Which sockets a ban has made useless."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import numpy as np
import pytest

from synguard.addresses import Network
from synguard.agent.blocked_sockets import UNANSWERED_S, Leftovers, blocked_rows, dead_connections, excess_rows
from synguard.decision.bans import ActiveBans
from synguard.decision.objections import Excess
from synguard.detector.ban_filter import within
from synguard.model import Action, Ban, Scope
from synguard.socket_table import SocketTable, TcpState
from tests.support.manual_clock import START
from tests.support.traffic import listener, table, together
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


def test_excess_of_a_part_of_a_prefix_is_closed_but_not_of_who_is_protected_nor_on_other_ports() -> None:
    crowd = together(
        table({"198.51.100.7": 3, "198.51.100.8": 2, "203.0.113.1": 4}, state=TcpState.ESTABLISHED),
        table({"198.51.100.7": 5}, port=443, state=TcpState.ESTABLISHED),
        table({"198.51.100.9": 6}, state=TcpState.SYN_RECV),
    )
    allowed, containers = [ip_network("198.51.100.8/32")], [ip_network("198.51.100.9/32")]
    all_of = Excess(ip_network("198.51.100.0/24"), (80,), 0, of_containers=False)
    assert len(excess_rows(crowd, [all_of], containers, allowed)) == 3
    assert len(excess_rows(crowd, [replace(all_of, at_most=2)], containers, allowed)) == 1
    assert len(excess_rows(crowd, [replace(all_of, of_containers=True)], containers, allowed)) == 0
    few, https = replace(all_of, at_most=2), replace(all_of, ports=(443,))
    assert len(excess_rows(crowd, [few, https], containers, allowed)) == 1 + 5
    assert len(excess_rows(crowd, [few, all_of, https], containers, allowed)) == 3 + 5


def test_the_pieces_of_many_prefixes_are_looked_for_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 8 times 64 pieces went through the whole table: 9 s a reading at 50,000 sockets."""
    crowd = table({f"10.0.{number}.1": 2 for number in range(256)}, state=TcpState.ESTABLISHED)
    excess = [Excess(ip_network(f"10.0.{number}.0/24"), (80,), 0, of_containers=False) for number in range(250)]
    judged: list[int] = []

    def counted(high: Any, *rest: Any) -> Any:
        judged.append(len(high))
        return within(high, *rest)

    monkeypatch.setattr("synguard.agent.blocked_sockets.within", counted)
    assert len(excess_rows(crowd, excess, [], [ip_network("10.0.7.0/24")])) == 2 * 249
    assert sum(judged) <= 2 * len(crowd)


CHALLENGED = [replace(ban("198.51.100.0/24"), action=Action.CHALLENGE)]


class Queue:
    """Half-open sockets, each known by the second of its SYN, and looked at twenty times a second."""

    def __init__(self, *begun_at: float, port: int = 80) -> None:
        self.begun_at, self.port = begun_at, port
        self.answered_at: dict[int, float] = {}
        """Number of a socket → when its client's ACK came; the kernel sends its SYN-ACK no more."""
        self.overflows = 0
        self.accept_queue, self.backlog = 0, 128
        self.now = 100.0
        self.leftovers = Leftovers()
        self.freed: dict[int, float] = {}

    def lasts(self, seconds: float, challenges: list[Ban] = CHALLENGED) -> dict[int, float]:
        """Let time pass; return number of socket → its age when it was freed."""
        until = self.now + seconds
        while self.now < until:
            self.now += 0.05
            seen, listening = self._table(), [listener(self.port, self.backlog, self.accept_queue)]
            counts = {"ListenOverflows": self.overflows}
            left = self.leftovers.of(seen, listening, counts, challenges, [], self.now)
            for cookie in left.cookie.tolist():
                self.freed.setdefault(cookie - 1, round(self.now - 100.0 - self.begun_at[cookie - 1], 2))
        return self.freed

    def _table(self) -> SocketTable:
        ages = np.array([self.now - 100.0 - at for at in self.begun_at])
        last = np.array([self.answered_at.get(number, 1e6) - at for number, at in enumerate(self.begun_at)])
        timeouts = np.log2(ages + 1).astype(np.uint32)
        sent = np.log2(np.minimum(ages, last) + 1).astype(np.uint32)
        due_ms = (1000 * (2.0 ** (timeouts + 1) - 1 - ages)).astype(np.uint32)
        cookies = np.arange(1, len(ages) + 1, dtype=np.uint64)
        rows = table({"198.51.100.7": len(ages)}, port=self.port)
        return replace(rows, cookie=cookies, recv_queue=sent, send_queue=due_ms)


def test_half_open_sockets_that_no_one_has_answered_are_freed_once_their_target_is_challenged() -> None:
    """They filled the queue for another minute, and the message of the incident's end came as late."""
    ages = Queue(0.0, -0.4, -0.9, -2.5).lasts(7.0)
    assert sorted(ages) == [0, 1, 2, 3]
    assert all(UNANSWERED_S <= age <= UNANSWERED_S + 5 for age in ages.values()), ages


def test_those_of_no_challenged_target_or_port_or_of_who_is_allowed_stay() -> None:
    def freed(challenges: list[Ban]) -> int:
        return len(Queue(0.0).lasts(6.0, challenges))

    assert freed([]) == 0
    assert freed([replace(CHALLENGED[0], ports=(443,))]) == 0
    assert freed([replace(ban("203.0.113.0/24"), action=Action.CHALLENGE)]) == 0
    queue = Queue(0.0)
    left = [
        queue.leftovers.of(queue._table(), [], {}, CHALLENGED, [ip_network("198.51.100.7")], 100.0 + at)
        for at in range(9)
    ]
    assert not any(map(len, left))


def test_clients_that_completed_the_handshake_behind_a_deferred_accept_are_spared() -> None:
    """Three seconds in this state were taken for no answer: whoever connected and said nothing yet was cut off."""
    queue = Queue(0.0, 0.0, 0.0)
    queue.answered_at = {0: 0.02, 1: 1.3}
    assert sorted(queue.lasts(20.0)) == [2]


def test_while_the_accept_queue_is_full_none_is_freed_and_later_only_who_answers_no_further_syn_ack() -> None:
    queue = Queue(0.0, 0.0)
    queue.accept_queue = 128
    assert queue.lasts(6.0) == {}
    queue.accept_queue = 0
    assert queue.lasts(2.0) == {}, "the next SYN-ACK goes out 7 s after the SYN, and a client answers it"
    queue.begun_at = queue.begun_at[:1]
    assert sorted(queue.lasts(10.0)) == [0]


def test_the_shortest_queue_there_is_has_room_while_it_is_empty() -> None:
    """Of ``listen(0)``: the kernel takes one connection more than the backlog."""
    queue = Queue(0.0)
    queue.backlog = 0
    assert list(queue.lasts(9.0)) == [0]
    queue = Queue(0.0)
    queue.backlog, queue.accept_queue = 0, 1
    assert not queue.lasts(9.0)


def test_an_accept_queue_that_was_full_between_two_readings_counts_for_every_port() -> None:
    queue = Queue(0.0)
    for _ in range(10):
        queue.overflows += 1
        assert queue.lasts(1.5) == {}


def test_what_was_seen_in_an_earlier_challenge_says_nothing() -> None:
    queue = Queue(0.0)
    queue.lasts(2.5)
    queue.lasts(0.1, [])
    assert queue.lasts(2.5) == {}


def test_an_ipv6_address_between_two_targets_is_neither() -> None:
    """Its network half is of one of those let through, its host half of the other: it passed for one of them."""
    rows = table({"2001:db8:1::1": 1, "2001:db8:1::2": 1, "2001:db8:2::2": 1}, port=80)
    let_through = [ip_network("2001:db8:1::1"), ip_network("2001:db8:2::2")]
    left_over = blocked_rows(rows, ActiveBans([ban("2001:db8::/32")]).ban_filter(START), let_through)
    assert left_over.remote_low.tolist() == [2]
