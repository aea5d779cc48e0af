"""How many SYNs were turned away for good: dropped, or answered with a cookie that did not come back."""

from __future__ import annotations

from collections import deque
from typing import Final

from synguard.detector.rates import dropped_rate, rate
from synguard.readings import CounterReading

LOOKBACK_S: Final = 1.0
"""Counted over so long, so that one cookie between two ticks is not twenty a second."""
ANSWERED_S: Final = 0.5
"""An honest answer comes back within this time, from anywhere."""
_KEPT: Final = 3
"""Readings that a look needs, however far apart they are."""


class OverflowWindow:
    """Follows the counters.

    A cookie says that a queue is full only where ``tcp_syncookies`` is 1: with 2 every client gets one. A cookie that
    comes back served a client in either case, so what is counted are those that do not.
    """

    def __init__(self) -> None:
        self._readings: deque[CounterReading] = deque()

    def follow(self, counters: CounterReading) -> float:
        """Take in one reading; return the SYNs a second that were turned away in the last `LOOKBACK_S`."""
        readings, now = self._readings, counters.at
        readings.append(counters)
        while len(readings) > _KEPT and readings[1].at <= now - LOOKBACK_S - ANSWERED_S:
            readings.popleft()
        before = self._latest(now - LOOKBACK_S)
        dropped = dropped_rate(before, counters) * (now - before.at)
        return dropped / max(now - before.at, LOOKBACK_S) + self._unanswered(counters)

    def _unanswered(self, newest: CounterReading) -> float:
        first, until = self._readings[0], self._latest(newest.at - ANSWERED_S)
        seconds = until.at - first.at
        sent = rate(first, until, ["SyncookiesSent"]) * seconds
        back = rate(first, newest, ["SyncookiesRecv"]) * (newest.at - first.at)
        return max(sent - back, 0.0) / max(seconds, LOOKBACK_S)

    def _latest(self, until: float) -> CounterReading:
        """Return the latest reading of up to a time, or the first."""
        return next((one for one in reversed(self._readings) if one.at <= until), self._readings[0])
