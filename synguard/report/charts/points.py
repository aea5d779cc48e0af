"""From stretches to points that fit on paper: peaks are kept, gaps stay gaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """One figure over one stretch of time, in POSIX seconds."""

    start: float
    end: float
    least: float
    mean: float
    most: float


def thinned(points: Sequence[Point], at_most: int) -> list[Point]:
    """Return at most about so many points; neighbours are made one with their least and most, so that peaks stay.

    Points with a gap between them are never made one: what was not seen is not drawn.
    """
    if len(points) <= at_most or at_most < 1:
        return list(points)
    span = points[-1].end - points[0].start
    width = span / at_most
    made: list[list[Point]] = []
    for point in points:
        last = made[-1] if made else None
        if last and point.end - last[0].start <= width * 1.0001 and point.start - last[-1].end <= GAP_S:
            last.append(point)
        else:
            made.append([point])
    return [_merged(group) for group in made]


GAP_S = 2.0
"""A pause longer than this between two points is a gap in a line."""


def _merged(group: Sequence[Point]) -> Point:
    seconds = sum(one.end - one.start for one in group)
    mean = sum(one.mean * (one.end - one.start) for one in group) / seconds if seconds else group[0].mean
    return Point(group[0].start, group[-1].end, min(one.least for one in group), mean, max(one.most for one in group))


def runs(points: Iterable[Point]) -> list[list[Point]]:
    """Return the points as runs without a gap inside: one line each."""
    found: list[list[Point]] = []
    for point in points:
        if found and point.start - found[-1][-1].end <= GAP_S:
            found[-1].append(point)
        else:
            found.append([point])
    return found
