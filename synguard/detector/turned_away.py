"""Services that are full and close new connections at once, as nginx without free ``worker_connections`` does."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import numpy as np

from synguard.detector.columns import is_ipv4
from synguard.detector.counting import AddressRows
from synguard.readings import U64, SocketTable, concatenated, empty_table

WINDOW_S: Final = 6.0
LASTS_S: Final = 1.5
"""Between the first and the last look that show a source turned away."""
LEAST: Final = 6
"""Sources that were turned away: a port without an answer for a scanner is no full service."""
MOSTLY: Final = 0.75
"""Their share of the sources whose short connections ended: whoever forges this sign needs three times as many hosts
as others are served."""
HEAVY: Final = 1 / 32
"""Sources with more than this share of a service's connections are not asked."""
MOST: Final = 4_096
"""Connections kept of each look."""

Source: TypeAlias = tuple[int, int]
"""High and low half of an IPv4 address or a /64."""


class TurnedAway:
    """Remembers the short connections that ended within the last seconds."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, SocketTable]] = deque()

    def follow(self, short: SocketTable | None, at: float) -> None:
        """Take in what ended between two looks at the socket table, without having been in either."""
        while self._looks and self._looks[0][0] < at - WINDOW_S:
            self._looks.popleft()
        if short is not None and len(short):
            self._looks.append((at, short.head(MOST)))

    @property
    def ports(self) -> frozenset[int]:
        """The ports that turn sources away, and have for a while."""
        times: dict[int, list[float]] = {}
        for at, one in self._looks:
            for port in np.unique(one.local_port[one.recv_queue > 0]).tolist():
                times.setdefault(port, []).append(at)
        return frozenset(port for port, seen in times.items() if seen[-1] - seen[0] >= LASTS_S)

    def from_port(self, port: int, held: AddressRows) -> AddressRows | None:
        """Return one row for each source that the port turned away; None where it serves others, or too few came.

        ``held`` are the port's connections.
        """
        share = HEAVY * len(held.low)
        heavy = {one for one, count in Counter(_sources(held.high, held.low)).items() if count > share}
        table = concatenated([one.where(one.local_port == port) for _, one in self._looks] or [empty_table()])
        refused = table.recv_queue > 0
        served = set(_sources(table.remote_high[~refused], table.remote_low[~refused])) - heavy
        away = set(_sources(table.remote_high[refused], table.remote_low[refused])) - heavy - served
        if len(away) < max(LEAST, MOSTLY * (len(away) + len(served))):
            return None
        return _one_each(away, port)


def _sources(high: U64, low: U64) -> Iterator[Source]:
    return zip(high.tolist(), np.where(is_ipv4(high, low), low, np.uint64(0)).tolist(), strict=True)


def _one_each(sources: Iterable[Source], port: int) -> AddressRows:
    high, low = np.array(sorted(sources), np.uint64).reshape(-1, 2).T
    return AddressRows(high.copy(), low.copy(), np.full(len(high), port, np.uint16))
