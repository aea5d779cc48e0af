"""Which sockets a ban should have stopped, and which of them it made useless.

Half-open ones are, since their SYN-ACKs will never be answered; connections are where everything is stopped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from synguard.addresses import Network
from synguard.decision.objections import Excess
from synguard.detector.ban_filter import BanFilter, by_key, within
from synguard.detector.columns import halves
from synguard.enforcer.socket_destroy import MAY_BE_DESTROYED
from synguard.model import Ban
from synguard.readings import Listener
from synguard.socket_table import SocketTable, TcpState

UNANSWERED_S: Final = 3.0
"""So long a half-open socket has been watched, at least, before it counts as left over."""
LOOK_EVERY_S: Final = 1.0
ANSWER_S: Final = 1.0
"""Whoever is there has acknowledged a SYN-ACK by then."""
LATE_S: Final = 0.2
"""So late a timer of the kernel, and a reading after it, may be."""
FIRST_TIMEOUT_S: Final = 1
"""After which a SYN-ACK is sent again; each next time after twice as long (``TCP_TIMEOUT_INIT``)."""
_MOST_RETRANSMITS: Final = 16
_OVERFLOWS: Final = "ListenOverflows"
_WATCHED: Final = np.dtype(
    [("cookie", np.uint64), ("since", np.float64), ("first", np.uint32), ("last", np.uint32), ("due", np.float64)]
)
"""A socket since when it is watched, how often its SYN-ACK had been sent again then and at the latest look, and when it
is due to be sent once more."""


def blocked_rows(sockets: SocketTable, ban_filter: BanFilter, let_through: Iterable[Network]) -> SocketTable:
    """Return the sockets whose source may not open connections: banned, and not let through in spite of it."""
    stopped = ban_filter.stops(sockets.remote_high, sockets.remote_low, sockets.local_port, forgeable=True)
    rows = sockets.where(stopped)
    return rows.where(~_inside(rows, let_through)) if len(rows) else rows


class Leftovers:
    """Half-open sockets of challenged targets that no one has answered for seconds: left from before the challenge.

    While SYNs are challenged a listener keeps no new ones. These would take up the queue for another minute, speak
    against their target, and keep the incident open.

    Clients that completed the handshake may wait in the same state: behind ``TCP_DEFER_ACCEPT`` until they send data,
    and while the accept queue is full. The kernel does not say which. But the first are sent no SYN-ACK again, and the
    second answer the next one once there is room. So those are left over whose SYN-ACK was sent again while they were
    watched, with room in the accept queue all the time, and was not answered. Whoever answered none but the latest of
    several SYN-ACKs, and waits behind ``TCP_DEFER_ACCEPT``, cannot be told from them. Source: ``reqsk_timer_handler``,
    ``syn_ack_recalc`` and ``tcp_check_req`` in net/ipv4.
    """

    def __init__(self) -> None:
        self._looked_at = float("-inf")
        self._watched = np.empty(0, _WATCHED)
        """By cookie, ascending."""
        self._full: set[int] = set()
        """Ports whose accept queue was full since the last look."""
        self._overflows = 0
        self._overflown = False
        """Whether one was since then, and it is not known which."""

    def of(
        self,
        half_open: SocketTable,
        listeners: Iterable[Listener],
        counters: Mapping[str, int],
        challenges: Collection[Ban],
        allowed: Iterable[Network],
        now: float,
    ) -> SocketTable:
        """Return those that are left over, each known by the kernel's name for it; to be called with each reading."""
        if not challenges:
            self._looked_at, self._watched = float("-inf"), self._watched[:0]
            return half_open.head(0)
        self._note_full(listeners, counters)
        if now - self._looked_at < LOOK_EVERY_S:
            return half_open.head(0)
        self._looked_at = now
        rows = half_open.where((half_open.cookie != 0) & ~np.isin(half_open.local_port, list(self._full)))
        rows = rows.where(np.argsort(rows.cookie))
        if self._overflown:
            self._watched = self._watched[:0]
        self._full, self._overflown = set(), False
        watched = self._watch(rows, now)
        sent_s = (FIRST_TIMEOUT_S << np.minimum(rows.recv_queue, _MOST_RETRANSMITS)) - rows.send_queue / 1000
        unanswered = (rows.recv_queue > watched["first"]) & (sent_s >= ANSWER_S)
        return _of_targets(rows.where(unanswered & (now - watched["since"] >= UNANSWERED_S)), challenges, allowed)

    def _watch(self, rows: SocketTable, now: float) -> npt.NDArray[np.void]:
        """Return what is known of each row; of one that was sent no SYN-ACK though it was due, from now on only."""
        watched = np.empty(len(rows), _WATCHED)
        watched["cookie"], watched["since"], watched["first"] = rows.cookie, now, rows.recv_queue
        watched["last"], watched["due"] = rows.recv_queue, now + rows.send_queue / 1000
        if len(self._watched):
            at = np.minimum(np.searchsorted(self._watched["cookie"], rows.cookie), len(self._watched) - 1)
            earlier = self._watched[at]
            known, again = earlier["cookie"] == rows.cookie, rows.recv_queue > earlier["last"]
            known &= again | (now <= earlier["due"] + LATE_S)
            for name, kept in (("since", known), ("first", known), ("due", known & ~again)):
                watched[name][kept] = earlier[name][kept]
        self._watched = watched
        return watched

    def _note_full(self, listeners: Iterable[Listener], counters: Mapping[str, int]) -> None:
        full = {one.port for one in listeners if not one.namespace and one.accept_queue >= max(one.backlog, 1)}
        overflows = counters.get(_OVERFLOWS, self._overflows)
        self._overflown |= overflows != self._overflows and not full
        self._overflows = overflows
        self._full |= full


def _of_targets(rows: SocketTable, bans: Collection[Ban], allowed: Iterable[Network]) -> SocketTable:
    """Return the rows that one of the bans concerns, but for those of who is allowed."""
    by_ports: dict[tuple[int, ...], list[Network]] = {}
    for ban in bans if len(rows) else ():
        by_ports.setdefault(ban.ports, []).append(ban.target)
    concerned = np.zeros(len(rows), np.bool_)
    for ports, targets in by_ports.items():
        concerned |= _inside(rows, targets) & _at_ports(rows, ports)
    return rows.where(concerned & ~_inside(rows, allowed)) if len(rows) else rows


def dead_connections(sockets: SocketTable, ban_filter: BanFilter, allowed: Iterable[Network]) -> SocketTable:
    """Return the connections of which no packet arrives any more: their source is banned whole, and is not allowed.

    They hold places in the service for as long as it waits for them. Those that have ended hold none.
    """
    stopped = ban_filter.stops(sockets.remote_high, sockets.remote_low, sockets.local_port, forgeable=False)
    rows = sockets.where(stopped & np.isin(sockets.state, MAY_BE_DESTROYED))
    return rows.where(~_inside(rows, allowed)) if len(rows) else rows


def excess_rows(
    sockets: SocketTable, excess: Iterable[Excess], containers: Iterable[Network], allowed: Iterable[Network]
) -> SocketTable:
    """Return the connections that targets hold beyond what they may, those listed last; but those of the allowed.

    Of a target in which only ``containers`` of this host are meant, those of containers. Targets that may hold nothing
    are looked for together, since they are hundreds where prefixes are stopped in pieces.
    """
    rows = sockets.where(np.isin(sockets.state, MAY_BE_DESTROYED) & (sockets.state != TcpState.SYN_RECV))
    free, beyond = _inside(rows, allowed), np.zeros(len(rows), np.bool_)
    nothing: dict[tuple[int, ...], list[Network]] = {}
    for one in excess:
        if one.at_most == 0 and not one.of_containers:
            nothing.setdefault(one.ports, []).append(one.target)
            continue
        mine = _inside(rows, [one.target]) & (_inside(rows, containers) if one.of_containers else ~free)
        mine &= _at_ports(rows, one.ports)
        beyond[np.flatnonzero(mine)[one.at_most :]] = True
    for ports, targets in nothing.items():
        beyond |= _inside(rows, targets) & ~free & _at_ports(rows, ports)
    return rows.where(beyond)


def _at_ports(rows: SocketTable, ports: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return which rows are at one of these local ports, of which none stands for all."""
    return np.isin(rows.local_port, ports) if ports else np.ones(len(rows), np.bool_)


def _inside(rows: SocketTable, networks: Iterable[Network]) -> npt.NDArray[np.bool_]:
    """Return which rows (bool, one per row) come from one of these networks."""
    firsts: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for network in networks:
        firsts.setdefault((network.version, network.prefixlen), []).append(halves(network))
    passing = np.zeros(len(rows), np.bool_)
    for (version, prefixlen), values in firsts.items():
        high, low = np.array(values, np.uint64).T
        passing |= within(rows.remote_high, rows.remote_low, by_key(high, low), version, prefixlen)
    return passing
