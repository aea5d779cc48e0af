"""Which half-open sockets a ban has made useless: their SYN-ACKs will never be answered."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from synguard.addresses import Network
from synguard.detector.columns import halves
from synguard.detector.held import Held
from synguard.readings import SocketTable


def useless(half_open: SocketTable, held: Held, let_through: Iterable[Network]) -> SocketTable:
    """Return the half-open sockets whose source may not complete its handshake: banned, and not let through.

    ``let_through`` are single addresses that pass in spite of a ban; wider networks are never banned.
    """
    stopped = held.stops(half_open.remote_high, half_open.remote_low, half_open.local_port, forgeable=True)
    if not stopped.any():
        return half_open.where(stopped)
    free = np.array([halves(peer) for peer in let_through], np.uint64).reshape(-1, 2)
    passes = np.isin(half_open.remote_low, free[:, 1]) & np.isin(half_open.remote_high, free[:, 0])
    return half_open.where(stopped & ~passes)
