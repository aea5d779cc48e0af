"""How handshakes fared over the last second: long enough for an honest answer to come back from anywhere."""

from __future__ import annotations

from collections import deque
from typing import Final

from synguard.detector.assessment import Handshakes
from synguard.detector.rates import handshake_rates, rate, refused_rate
from synguard.readings import CounterReading

LOOKBACK_S: Final = 1.0
PAUSE_S: Final = 0.5
"""A queue that was not full for so long has recovered; counters that stand still for a tick are no recovery."""


class HandshakeWindow:
    """Remembers the counters of the last second, and since when SYN queues have been suffering."""

    def __init__(self) -> None:
        self._readings: deque[CounterReading] = deque()
        self._suffered = False
        self._since = 0.0
        self._last = float("-inf")

    def follow(self, counters: CounterReading | None, now: float, *, suffering: bool) -> Handshakes:
        """Take in one tick; ``counters`` is None where they were not read in it."""
        if suffering:
            if not self._suffered and now - self._last > PAUSE_S:
                self._since = now
            self._last = now
        self._suffered = suffering
        if counters is not None:
            self._readings.append(counters)
        while len(self._readings) > 2 and self._readings[1].at <= now - LOOKBACK_S:
            self._readings.popleft()
        return self._handshakes(now - self._since if now - self._last <= PAUSE_S else 0.0)

    def _handshakes(self, suffering_s: float) -> Handshakes:
        if len(self._readings) < 2:
            return Handshakes(suffering_s=suffering_s)
        before, after = self._readings[0], self._readings[-1]
        return Handshakes(
            suffering_s=suffering_s,
            **handshake_rates(before, after),
            resets_pps=rate(before, after, ["EmbryonicRsts"]),
            refused_pps=refused_rate(before, after),
        )
