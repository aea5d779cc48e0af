"""The loudest that each target ever was, as a mean over a policy's hold.

The mean over the hold is what a limit must be compared with: a source whose mean over no hold passes ``m`` never
gathers more than ``100 · m / limit`` points (see ``decision.scores``), however its traffic comes in bursts. So under a
limit of three times that, no one as loud as seen passes score 33, and who is less than three times as loud is never
acted on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from synguard.addresses import Network
from synguard.columns import U64
from synguard.detector.columns import cut, network_at, sorting_order

MOST_TARGETS: Final = 262_144
"""Targets remembered of one kind; past it the quietest are forgotten, which leaves the highest figures exact."""
_PENDING: Final = 262_144
_ROUNDING_S: Final = 1e-6

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PeakFigures:
    """How loud the targets of one kind were at their loudest; so large a share of them had at most so much."""

    targets: int
    p50: float
    p90: float
    p99: float
    p999: float
    peak: float
    loudest: Network
    """Whose the peak is."""


class Peaks:
    """The peaks of all targets of one width and family."""

    def __init__(self, hold_s: float, version: int, prefixlen: int) -> None:
        self._hold_s, self._version, self._prefixlen = hold_s, version, prefixlen
        self._recent: deque[tuple[float, U64, U64, Floats]] = deque()
        self._high, self._low = np.empty(0, np.uint64), np.empty(0, np.uint64)
        self._peak = np.empty(0, np.float64)
        self._pending: list[tuple[U64, U64, Floats]] = []
        self._pending_rows = 0

    def add(self, at: float, dt: float, high: U64, low: U64, value: Floats) -> None:
        """Take in that targets (each once) had these values for the ``dt`` seconds up to ``at``; others had none.

        A reading that reaches out of the hold counts whole, as it does in a score: a steady 5 may show as 5.2.
        """
        while self._recent and self._recent[0][0] <= at - self._hold_s + _ROUNDING_S:
            self._recent.popleft()
        if len(value):
            self._recent.append((at, high, low, value * min(dt, self._hold_s)))
            within = [(high, low, area) for _, high, low, area in self._recent]
            high, low, area = _by_target(within, np.add)
            self._pending.append((high, low, area / self._hold_s))
            self._pending_rows += len(area)
        if self._pending_rows > _PENDING:
            self._settle()

    def pause(self) -> None:
        """Forget what was seen within the last hold: what comes next does not follow on it."""
        self._recent.clear()

    def all(self) -> Floats:
        """Return the peak of every target."""
        self._settle()
        return self._peak

    def loudest(self) -> tuple[float, Network] | None:
        """Return the highest peak and whose it is, or None where nothing was seen."""
        self._settle()
        if not len(self._peak):
            return None
        row = int(self._peak.argmax())
        network = network_at(int(self._high[row]), int(self._low[row]), self._version, self._prefixlen)
        return float(self._peak[row]), network

    def _settle(self) -> None:
        if not self._pending:
            return
        self._high, self._low, self._peak = _by_target(
            [(self._high, self._low, self._peak), *self._pending], np.maximum
        )
        self._pending, self._pending_rows = [], 0
        if len(self._peak) > MOST_TARGETS:
            kept = np.sort(np.argpartition(self._peak, -MOST_TARGETS)[-MOST_TARGETS:])
            self._high, self._low, self._peak = self._high[kept], self._low[kept], self._peak[kept]


def figures(kind: list[Peaks], scale: list[float]) -> PeakFigures | None:
    """Return the figures of targets of several widths and families, each width's multiplied by its ``scale``.

    None where nothing was seen.
    """
    found = [(peaks.loudest(), factor, peaks) for peaks, factor in zip(kind, scale, strict=True)]
    seen = [(loudest, factor, peaks) for loudest, factor, peaks in found if loudest is not None]
    if not seen:
        return None
    values = np.concatenate([peaks.all() * factor for _, factor, peaks in seen])
    p50, p90, p99, p999 = np.quantile(values, (0.5, 0.9, 0.99, 0.999), method="higher").tolist()
    peak, network = max((loudest[0] * factor, loudest[1]) for loudest, factor, _ in seen)
    return PeakFigures(len(values), p50, p90, p99, p999, peak, network)


def _by_target(parts: list[tuple[U64, U64, Floats]], reduce: Any) -> tuple[U64, U64, Floats]:
    high, low, value = (np.concatenate([part[column] for part in parts]) for column in range(3))
    order = sorting_order(high, low)
    targets = cut(high[order], low[order], 6, 128)  # masked by their width already: compared whole
    return targets.high, targets.low, reduce.reduceat(value[order], targets.start)
