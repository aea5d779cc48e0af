"""Which of very many listening sockets are told apart: those under pressure, and some of the others."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from synguard.socket_table import SocketTable

MOST_LISTENERS: Final = 256
"""Listening sockets of one network namespace that a tick makes objects of, for each reason; an unprivileged user may
open as many as there are ports."""


MANY: Final = 4_096
"""Listening sockets beyond which they are not read anew at every tick …"""
SELDOM_S: Final = 1.0
"""… but after so long, and later the more there are: 57,000 cost 40 ms."""
_IN_SELDOM: Final = 57_000


def stands_for(listening: int) -> float:
    """Return the seconds for which so many listening sockets are taken for the present ones once they were read."""
    return SELDOM_S * max(1.0, listening / _IN_SELDOM) if listening > MANY else 0.0


def busiest(listening: SocketTable, half_open: SocketTable) -> npt.NDArray[np.int64]:
    """Return the rows of listening sockets that a tick looks at, ascending: all of them where they are few.

    Of more they are those on the ports with most half-open sockets, those with most connections that wait to be
    accepted, and those on the lowest ports, which only root may open, each `MOST_LISTENERS` at most.
    """
    if len(listening) <= MOST_LISTENERS:
        return np.arange(len(listening))
    by_port = np.bincount(half_open.local_port, minlength=1 << 16)[listening.local_port]
    waiting = listening.recv_queue.astype(np.int64)
    chosen = [np.argpartition(listening.local_port, MOST_LISTENERS)[:MOST_LISTENERS]]
    for load in (by_port, waiting):
        loaded = np.flatnonzero(load)
        chosen.append(loaded[np.argsort(-load[loaded], kind="stable")][:MOST_LISTENERS])
    return np.unique(np.concatenate(chosen))
