"""Which half-open sockets a ban has made useless: their SYN-ACKs will never be answered."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from synguard.addresses import Network
from synguard.decision.bans import StandingBans
from synguard.detector.columns import halves, is_ipv4, masks, network_at
from synguard.detector.counting import Held
from synguard.model import Scope
from synguard.readings import V4_PREFIX, SocketTable

MOST_LOOKED_AT: Final = 8192
"""Sockets looked at in one tick; the others come in the next."""


def useless(
    half_open: SocketTable, standing: StandingBans, let_through: Iterable[Network], now: datetime
) -> SocketTable:
    """Return the half-open sockets whose source may not complete its handshake: banned, and not let through."""
    candidates = half_open.where(_in_any(half_open, standing.columns())).head(MOST_LOOKED_AT)
    if not len(candidates):
        return candidates
    free = {halves(network) for network in let_through if network.prefixlen == network.max_prefixlen}
    return candidates.where(_banned(candidates, standing, free, now))


def _in_any(table: SocketTable, held: Held) -> npt.NDArray[np.bool_]:
    """Return which rows lie in a banned network of any width."""
    found = np.zeros(len(table), np.bool_)
    ipv4 = is_ipv4(table.remote_high, table.remote_low)
    for (version, prefixlen), (high, low) in held.items():
        high_mask, low_mask = masks(version, prefixlen)
        inside = np.isin(table.remote_high & high_mask, high) & np.isin(table.remote_low & low_mask, low)
        found |= inside & (ipv4 if version == 4 else ~ipv4)
    return found


def _banned(
    table: SocketTable, standing: StandingBans, free: set[tuple[int, int]], now: datetime
) -> npt.NDArray[np.bool_]:
    """Return which rows a ban stops on the very port they came to; one look-up per source and port."""
    answers: dict[tuple[int, int, int], bool] = {}
    rows = zip(table.remote_high.tolist(), table.remote_low.tolist(), table.local_port.tolist(), strict=True)
    banned = []
    for high, low, port in rows:
        answer = answers.get((high, low, port))
        if answer is None:
            answer = answers[high, low, port] = (high, low) not in free and _stopped(high, low, port, standing, now)
        banned.append(answer)
    return np.array(banned, np.bool_)


def _stopped(high: int, low: int, port: int, standing: StandingBans, now: datetime) -> bool:
    version = 4 if high == 0 and low >> 32 == V4_PREFIX else 6
    host = network_at(high, low, version, 32 if version == 4 else 128)
    return standing.covering(host, Scope.NEW, (port,), now) is not None
