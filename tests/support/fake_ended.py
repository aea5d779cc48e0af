"""Connections that are over within milliseconds, as the kernel tells of them to who listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from synguard.socket_table import SocketTable, TcpState
from tests.support.manual_clock import ManualClock
from tests.support.traffic import Counts, table


class FakeEnded:
    """Tells of so many connections of each address as ended since the last read, each from a port of its own."""

    def __init__(
        self, clock: ManualClock, rates: Callable[[], Counts], port: int, turned_away: Callable[[], Counts] = dict
    ) -> None:
        self.running = False
        self._clock, self._rates, self._port, self._turned_away = clock, rates, port, turned_away
        self._read_at = 0.0
        self._next_port = 0

    def open(self) -> None:
        """Begin."""
        self.running, self._read_at = True, self._clock.monotonic()

    def read(self) -> SocketTable:
        """Return what has ended."""
        before, self._read_at = self._read_at, self._clock.monotonic()
        served, away = (
            table(
                {one: round(rate * self._read_at) - round(rate * before) for one, rate in rates().items()},
                self._port,
                TcpState.CLOSE,
            )
            for rates in (self._rates, self._turned_away)
        )
        ended = SocketTable.joined([served, replace(away, recv_queue=np.ones(len(away), np.uint32))])
        ports = (self._next_port + np.arange(len(ended))) % 65_536
        self._next_port += len(ended)
        return replace(ended, remote_port=ports.astype(np.uint16))

    def close(self) -> None:
        """Stop."""
        self.running = False
