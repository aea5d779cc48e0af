"""Which sockets a ban should have stopped, and which of them it made useless.

Half-open ones are, since their SYN-ACKs will never be answered; connections are where everything is stopped.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from synguard.addresses import Network
from synguard.decision.objections import Excess
from synguard.detector.ban_filter import BanFilter
from synguard.detector.columns import halves, is_ipv4, masks
from synguard.enforcer.socket_destroy import MAY_BE_DESTROYED
from synguard.readings import SocketTable, TcpState


def blocked_rows(sockets: SocketTable, ban_filter: BanFilter, let_through: Iterable[Network]) -> SocketTable:
    """Return the sockets whose source may not open connections: banned, and not let through in spite of it."""
    stopped = ban_filter.stops(sockets.remote_high, sockets.remote_low, sockets.local_port, forgeable=True)
    rows = sockets.where(stopped)
    return rows.where(~_inside(rows, let_through)) if len(rows) else rows


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
    ipv4 = is_ipv4(rows.remote_high, rows.remote_low)
    for (version, prefixlen), values in firsts.items():
        high_mask, low_mask = masks(version, prefixlen)
        first = np.array(values, np.uint64)
        inside = np.isin(rows.remote_low & low_mask, first[:, 1]) & (ipv4 == (version == 4))
        passing |= inside & np.isin(rows.remote_high & high_mask, first[:, 0])
    return passing
