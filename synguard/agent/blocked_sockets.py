"""Which sockets a ban should have stopped, and which of them it made useless.

Half-open ones are, since their SYN-ACKs will never be answered; connections are where everything is stopped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from synguard.addresses import Network
from synguard.decision.objections import Excess
from synguard.detector.ban_filter import BanFilter, by_key, within
from synguard.detector.columns import halves
from synguard.enforcer.socket_destroy import MAY_BE_DESTROYED
from synguard.model import Ban
from synguard.readings import SocketTable, TcpState

UNANSWERED_S: Final = 3.0
"""Two SYN-ACKs have gone unanswered by then: one was sent again after a second."""


def blocked_rows(sockets: SocketTable, ban_filter: BanFilter, let_through: Iterable[Network]) -> SocketTable:
    """Return the sockets whose source may not open connections: banned, and not let through in spite of it."""
    stopped = ban_filter.stops(sockets.remote_high, sockets.remote_low, sockets.local_port, forgeable=True)
    rows = sockets.where(stopped)
    return rows.where(~_inside(rows, let_through)) if len(rows) else rows


class Leftovers:
    """Half-open sockets of challenged targets that no one has answered for seconds: left from before the challenge.

    While SYNs are challenged a listener keeps no new ones. These would take up the queue for another minute, speak
    against their target, and keep the incident open.
    """

    def __init__(self) -> None:
        self._at = float("-inf")
        self._cookies = np.empty(0, np.uint64)

    def of(
        self, half_open: SocketTable, challenges: Collection[Ban], allowed: Iterable[Network], now: float
    ) -> SocketTable:
        """Return those that were there at a look `UNANSWERED_S` ago already, each known by the kernel's name for it."""
        if not challenges:
            self._at, self._cookies = float("-inf"), self._cookies[:0]
            return half_open.head(0)
        if now - self._at < UNANSWERED_S:
            return half_open.head(0)
        old = half_open.where(np.isin(half_open.cookie, self._cookies))
        self._at, self._cookies = now, half_open.cookie[half_open.cookie != 0]
        by_ports: dict[tuple[int, ...], list[Network]] = {}
        for ban in challenges if len(old) else ():
            by_ports.setdefault(ban.ports, []).append(ban.target)
        left = np.zeros(len(old), np.bool_)
        for ports, targets in by_ports.items():
            left |= _inside(old, targets) & (np.isin(old.local_port, ports) if ports else True)
        return old.where(left & ~_inside(old, allowed)) if len(old) else old


def dead_connections(sockets: SocketTable, ban_filter: BanFilter, allowed: Iterable[Network]) -> SocketTable:
    """Return the connections of which no packet arrives any more: their source is banned whole, and is not allowed.

    They hold places in the service for as long as it waits for them. Those that have ended hold none.
    """
    stopped = ban_filter.stops(sockets.remote_high, sockets.remote_low, sockets.local_port, forgeable=False)
    rows = sockets.where(stopped & np.isin(sockets.state, MAY_BE_DESTROYED))
    return rows.where(~_inside(rows, allowed)) if len(rows) else rows


def excess_rows(sockets: SocketTable, excess: Excess, containers: Iterable[Network]) -> SocketTable:
    """Return the connections that containers in the target hold beyond what they may, those listed last."""
    mine = np.isin(sockets.state, MAY_BE_DESTROYED) & (sockets.state != TcpState.SYN_RECV)
    if excess.ports:
        mine &= np.isin(sockets.local_port, excess.ports)
    rows = sockets.where(mine)
    rows = rows.where(_inside(rows, [excess.target]))
    rows = rows.where(_inside(rows, containers))
    return rows.where(np.arange(len(rows)) >= excess.at_most)


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
