"""SYNs that the kernel turns away and that sampling does not show: behind headers that the filter does not walk."""

from __future__ import annotations

from typing import Final

from synguard.detector.assessment import FloodFigures
from synguard.readings import SynSample

LEAST_PPS: Final = 200.0
"""Fewer SYNs a second may be loopback's, which are not sampled."""
SHARE: Final = 0.5
"""Sampling is blind where it shows less than this share of what the kernel turns away."""
LASTS_S: Final = 2.0
"""The kernel's counters are of the last second and a half, sampling begins at once; so long they may differ."""


class UnsampledWindow:
    """Remembers since when the kernel has turned away more than sampling shows."""

    def __init__(self) -> None:
        self._since: float | None = None

    def follow(self, flood: FloodFigures, sample: SynSample | None, now: float) -> float:
        """Take in one tick; return the SYNs a second that have not been seen, 0 unless that lasts."""
        if sample is None:
            self._since = None
            return 0.0
        if flood.overflow_pps < LEAST_PPS or flood.syn_pps >= SHARE * flood.overflow_pps:
            self._since = None
            return 0.0
        self._since = now if self._since is None else self._since
        return flood.overflow_pps - flood.syn_pps if now - self._since >= LASTS_S else 0.0
