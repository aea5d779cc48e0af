"""Whether receiving packets takes all that a CPU has: then no answer is cheap enough, and dropping is called for."""

from __future__ import annotations

from collections import deque
from typing import Final

from synguard.readings import CpuReading

LOOKBACK_S: Final = 1.0
"""Kernel ticks are 1 to 10 ms each: over a second a share is certain to a per cent."""
SATURATED: Final = 0.9
"""Share of a CPU's time in hard and soft interrupts, which is where packets are received, from which it is full."""
LOST: Final = 0.01
"""Share of the packets dropped because a CPU's backlog was full from which it is a bottleneck."""
LEAST_LOST: Final = 100
"""Fewer dropped packets a second than this are a burst."""


class CpuWindow:
    """Remembers the readings of the last second."""

    def __init__(self) -> None:
        self._readings: deque[CpuReading] = deque()

    def follow(self, reading: CpuReading | None) -> str:
        """Take in one tick; return why a CPU is the bottleneck of receiving packets, or nothing."""
        if reading is not None:
            self._readings.append(reading)
            while len(self._readings) > 2 and self._readings[1].at <= reading.at - LOOKBACK_S:
                self._readings.popleft()
        if len(self._readings) < 2:
            return ""
        return bottleneck(self._readings[0], self._readings[-1])


def bottleneck(before: CpuReading, after: CpuReading) -> str:
    """Return in one clause why a CPU is the bottleneck of receiving packets between two readings, or nothing.

    Two readings less than half a second apart say nothing, and neither do counters that went backwards.
    """
    elapsed = after.at - before.at
    if elapsed < LOOKBACK_S / 2:
        return ""
    dropped = after.dropped - before.dropped
    taken = after.taken - before.taken
    if dropped >= max(LEAST_LOST * elapsed, LOST * max(taken, 0)):
        return f"{dropped / elapsed:,.0f} packets a second are dropped before TCP sees them"
    earlier = {one.cpu: one for one in before.cpus}
    busiest, share = -1, 0.0
    for one in after.cpus:
        then = earlier.get(one.cpu)
        if then is None or one.total <= then.total:
            continue
        mine = (one.interrupts - then.interrupts) / (one.total - then.total)
        if mine > share:
            busiest, share = one.cpu, mine
    return f"CPU {busiest} spends {share:.0%} of its time on received packets" if share >= SATURATED else ""
