"""Which sockets of banned sources came to be since the last look: what a ban should have stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from synguard.addresses import host_at
from synguard.columns import U64
from synguard.decision.bans import ActiveBans
from synguard.model import Ban, Scope
from synguard.socket_table import SocketTable, TcpState

GRACE: Final = timedelta(seconds=2)
"""What arrives so soon after a ban was on its way before it."""
MOST_SOURCES: Final = 32
"""Sources named a look; bans of the others are found at later looks, if they leak."""
MOST_PLACES: Final = 512
"""Tables remembered: two a network namespace."""


@dataclass(frozen=True, slots=True)
class _Seen:
    at: datetime
    keys: U64


class NewSockets:
    """Remembers one look at each table, so that a socket that merely stays is not taken for a new one."""

    def __init__(self) -> None:
        self._looks: dict[str, _Seen] = {}

    def of(self, place: str, rows: SocketTable, active_bans: ActiveBans, now: datetime) -> Iterator[tuple[Ban, int]]:
        """Yield (ban, sockets new since the last look at ``place``) of the bans that should have stopped them.

        ``rows`` are all sockets of banned sources there. The first look at a place finds nothing new, and none does
        for a ban that was younger than ``GRACE`` at the look before.
        """
        keys = _keys(rows)
        before = self._looks.pop(place, None)
        if len(self._looks) >= MOST_PLACES:
            del self._looks[next(iter(self._looks))]
        self._looks[place] = _Seen(now, keys)
        if before is not None and len(rows):
            fresh = rows.where(~np.isin(keys, before.keys))
            for ban, count in _by_ban(fresh, active_bans, now):
                if before.at >= ban.created_at + GRACE:
                    yield ban, count


def _keys(rows: SocketTable) -> U64:
    """Return a number for each socket: its cookie while half-open, else its two ends, which outlive its states."""
    ends = rows.remote_low * np.uint64(0x9E3779B97F4A7C15)
    ends ^= rows.remote_high * np.uint64(0xC2B2AE3D27D4EB4F)
    ports = rows.remote_port.astype(np.uint64) << np.uint64(16) | rows.local_port
    ends ^= ports * np.uint64(0x165667B19E3779F9)
    named = (rows.cookie != 0) & (rows.state == TcpState.SYN_RECV)
    return np.where(named, rows.cookie, ends)


def _by_ban(rows: SocketTable, active_bans: ActiveBans, now: datetime) -> Iterator[tuple[Ban, int]]:
    sources = Counter(zip(rows.remote_high.tolist(), rows.remote_low.tolist(), rows.local_port.tolist(), strict=True))
    counts: dict[str, tuple[Ban, int]] = {}
    for (high, low, port), count in sources.most_common(MOST_SOURCES):
        ban = active_bans.covering(host_at(high, low), Scope.NEW, (port,), now)
        if ban is not None:
            counts[ban.id] = (ban, counts.get(ban.id, (ban, 0))[1] + count)
    yield from counts.values()
