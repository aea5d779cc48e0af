"""Services that are full and close new connections at once, as nginx without free ``worker_connections`` does."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Network
from typing import Final, TypeAlias

import numpy as np

from synguard.columns import U64
from synguard.detector.columns import as_judged, is_ipv4
from synguard.detector.counting import AddressRows
from synguard.detector.lowered_limits import HEAVY_SHARE
from synguard.socket_table import SocketTable

WINDOW_S: Final = 6.0
LASTS_S: Final = 1.5
"""Between the first and the last look that show a source turned away."""
LEAST: Final = 6
"""Sources that were turned away: a port without an answer for a scanner is no full service."""
MOSTLY: Final = 0.75
"""Their share of the sources whose short connections ended: whoever forges this sign needs three times as many hosts
as others are served."""
MOST: Final = 4_096
"""Connections kept of each look."""

Source: TypeAlias = tuple[int, int]
"""High and low half of an IPv4 address or a /64."""


class TurnedAway:
    """Remembers the short connections that ended within the last seconds."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, SocketTable, frozenset[int]]] = deque()
        """When, what ended, and the ports that turned some away."""

    def follow(self, short: SocketTable | None, at: float) -> None:
        """Take in what ended between two looks at the socket table, without having been in either."""
        while self._looks and self._looks[0][0] < at - WINDOW_S:
            self._looks.popleft()
        if short is not None and len(short):
            short = short.head(MOST)
            self._looks.append((at, short, frozenset(short.local_port[short.recv_queue > 0].tolist())))

    @property
    def ports(self) -> frozenset[int]:
        """The ports that turn sources away, and have for a while."""
        times: dict[int, list[float]] = {}
        for at, _, ports in self._looks:
            for port in ports:
                times.setdefault(port, []).append(at)
        return frozenset(port for port, seen in times.items() if seen[-1] - seen[0] >= LASTS_S)

    def from_port(self, port: int, held: AddressRows, embedding: Iterable[IPv6Network]) -> AddressRows | None:
        """Return one row for each source that the port turned away; None where it serves others, or too few came.

        ``held`` are the port's connections: who holds much of the service is not asked. Addresses in ``embedding`` are
        the IPv4 addresses in them.
        """
        share = HEAVY_SHARE * len(held.low)
        heavy = {one for one, count in Counter(_sources(held.high, held.low, embedding)).items() if count > share}
        looks = [one.where(one.local_port == port) for _, one, _ in self._looks]
        table = SocketTable.joined(looks or [SocketTable.none()])
        high, low = table.remote_high, table.remote_low
        refused = table.recv_queue > 0
        served = set(_sources(high[~refused], low[~refused], embedding)) - heavy
        away = set(_sources(high[refused], low[refused], embedding)) - heavy - served
        if len(away) < max(LEAST, MOSTLY * (len(away) + len(served))):
            return None
        return _one_each(away, port)


def _sources(high: U64, low: U64, embedding: Iterable[IPv6Network]) -> Iterator[Source]:
    high, low = as_judged(high, low, embedding)
    return zip(high.tolist(), np.where(is_ipv4(high, low), low, np.uint64(0)).tolist(), strict=True)


def _one_each(sources: Iterable[Source], port: int) -> AddressRows:
    high, low = np.array(sorted(sources), np.uint64).reshape(-1, 2).T
    return AddressRows(high.copy(), low.copy(), np.full(len(high), port, np.uint16))
