"""Connections that are over within milliseconds, as the kernel tells of them to who listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from synguard.readings import SocketTable, TcpState
from tests.support.manual_clock import ManualClock
from tests.support.traffic import Counts, table


class FakeEnded:
    """Tells of so many connections of each address as ended since the last read, each from a port of its own."""

    def __init__(self, clock: ManualClock, rates: Callable[[], Counts], port: int) -> None:
        self.running = False
        self._clock, self._rates, self._port = clock, rates, port
        self._read_at = 0.0
        self._next_port = 0

    def open(self) -> None:
        """Begin."""
        self.running, self._read_at = True, self._clock.monotonic()

    def read(self) -> SocketTable:
        """Return what has ended."""
        window, self._read_at = self._clock.monotonic() - self._read_at, self._clock.monotonic()
        ended = table({one: round(rate * window) for one, rate in self._rates().items()}, self._port, TcpState.CLOSE)
        ports = (self._next_port + np.arange(len(ended))) % 65_536
        self._next_port += len(ended)
        return replace(ended, remote_port=ports.astype(np.uint16))

    def close(self) -> None:
        """Stop."""
        self.running = False
