"""Whether a figure grows: a slope that no single spike can make or hide.

What leaks, leaks on: a descriptor a restart, a page a flood. So the question is put to the *second half* of what was
seen, when caches, pools and the interpreter's own arenas have been filled, and it is whether there is a trend, not
whether the last value is above the first. The figures of a soak are noisy in a way that defeats a least-squares line:
each round is another flood, a busy machine makes single ticks late by a hundred times the usual, and memory moves in
steps of an arena. The slope is therefore that of Theil and Sen, the median of the slopes between all pairs of points,
which up to 29 % of arbitrarily wrong points cannot move far. Samples are first drawn together to one point a round
(their median), because samples within a round know of its flood and not of time. Memory and what a tick
costs are a matter of that flood, so that they are compared only between rounds of the same one (as the seasonal slope
of Hirsch and Slack compares Mays with Mays): four rounds of four floods would show a trend of floods.

A trend is a failure if over the judged half it comes to more than is allowed for that figure, an absolute amount or a
share of its median, whichever is more: so a longer run, whose half is longer, finds a slower leak with the same
allowance. An hour, with half of 36 minutes judged, finds 3 MiB of memory in 18 minutes, which is a third of a byte a
SYN at 10,000 SYN/s.

Source: P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau", JASA 63 (1968), 1379-1389;
R. M. Hirsch, J. R. Slack, R. A. Smith, "Techniques of trend analysis for monthly water quality data", Water Resources
Research 18 (1982), 107-121.
"""

from __future__ import annotations

import statistics
from collections.abc import Hashable, Sequence
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


Point = tuple[float, float, Hashable]
"""When, how much, and under what: only points under the same are compared."""


def slopes(points: Sequence[Point]) -> list[float]:
    """Return the slopes between all pairs of points under the same, per unit of time."""
    pairs = combinations(points, 2)
    return [(y2 - y1) / (x2 - x1) for (x1, y1, under), (x2, y2, other) in pairs if x2 != x1 and under == other]


def second_half(points: Sequence[Point]) -> list[Point]:
    """Return the points of the later half of the time that they span."""
    if not points:
        return []
    middle = (points[0][0] + points[-1][0]) / 2
    return [point for point in points if point[0] >= middle]


def growth(points: Sequence[Point], allowance: Allowance) -> Growth:
    """Return how one figure grew over the second half.

    Raises:
        ValueError: There are fewer than three points, or no two under the same, to judge by; that a figure was not
            seen is no proof that it stood still.
    """
    judged = second_half(points)
    if len(judged) < 3 or not (found := slopes(judged)):
        raise ValueError(f"{len(judged)} points cannot show a trend")
    per_s = statistics.median(found)
    median = statistics.median(value for _, value, _ in judged)
    rise = per_s * (judged[-1][0] - judged[0][0])
    return Growth(len(judged), median, max(value for _, value, _ in judged), 3600 * per_s, rise, allowance.of(median))
