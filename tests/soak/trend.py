"""Whether a figure grows: a slope that no single spike can make or hide.

What leaks, leaks on: a descriptor a restart, a page a flood. So the question is put to the *second half* of what was
seen, when caches, pools and the interpreter's own arenas have been filled, and it is whether there is a trend, not
whether the last value is above the first. The figures of a soak are noisy in a way that defeats a least-squares line:
each round is another flood, a busy machine makes single ticks late by a hundred times the usual, and memory moves in
steps of an arena. The slope is therefore that of Theil and Sen, the median of the slopes between all pairs of points,
which up to 29 % of arbitrarily wrong points cannot move far. Samples are first drawn together to one point a round
(their median), because samples within a round know of its flood and not of time.

A trend is a failure if over the judged half it comes to more than is allowed for that figure, an absolute amount or a
share of its median, whichever is more: so a longer run, whose half is longer, finds a slower leak with the same
allowance. An hour, with half of 36 minutes judged, finds 3 MiB of memory in 18 minutes, which is a third of a byte a
SYN at 10,000 SYN/s.

Source: P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau", JASA 63 (1968), 1379-1389.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much a figure may rise over the judged half."""

    absolute: float
    share: float = 0.0

    def of(self, median: float) -> float:
        """Return the amount, for a figure of this median."""
        return max(self.absolute, self.share * abs(median))


@dataclass(frozen=True, slots=True)
class Growth:
    """What came of one figure."""

    points: int
    median: float
    highest: float
    per_hour: float
    over_the_half: float
    allowed: float

    @property
    def grows(self) -> bool:
        """Whether it rose by more than is allowed."""
        return self.over_the_half > self.allowed


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the median slope between all pairs of ``(time, value)``, per unit of time; 0 for fewer than two."""
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 != x1]
    return statistics.median(slopes) if slopes else 0.0


def second_half(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points of the later half of the time that they span."""
    if not points:
        return []
    middle = (points[0][0] + points[-1][0]) / 2
    return [point for point in points if point[0] >= middle]


def growth(points: Sequence[tuple[float, float]], allowance: Allowance) -> Growth:
    """Return how one figure grew over the second half.

    Raises:
        ValueError: There are fewer than three points to judge by; that a figure was not seen is no proof that it
            stood still.
    """
    judged = second_half(points)
    if len(judged) < 3:
        raise ValueError(f"{len(judged)} points cannot show a trend")
    per_s = slope(judged)
    median = statistics.median(value for _, value in judged)
    rise = per_s * (judged[-1][0] - judged[0][0])
    return Growth(len(judged), median, max(value for _, value in judged), 3600 * per_s, rise, allowance.of(median))
