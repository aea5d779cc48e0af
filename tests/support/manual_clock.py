"""A clock that tests turn by hand."""

from __future__ import annotations

import select
from datetime import UTC, datetime, timedelta
from typing import Final

START: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class ManualClock:
    """Stands still until it is told to go on; a wait goes on at once by the time waited for."""

    def __init__(self, utc: datetime = START) -> None:
        self._monotonic = 1000.0
        self._utc = utc

    def monotonic(self) -> float:
        """Return seconds that only ever grow."""
        return self._monotonic

    def utcnow(self) -> datetime:
        """Return the time of day, aware, in UTC."""
        return self._utc

    def wait(self, timeout: float, *descriptors: int) -> bool:
        """Go on by ``timeout`` seconds, unless a descriptor can be read."""
        if select.select(descriptors, (), (), 0)[0]:
            return True
        self.advance(max(timeout, 0.0))
        return False

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._monotonic += seconds
        self._utc += timedelta(seconds=seconds)

    def jump(self, seconds: float) -> None:
        """Let only the time of day jump, as when an operator sets the clock."""
        self._utc += timedelta(seconds=seconds)
