"""A prefix without those in it who must get through: the widest networks that hold none of them, heaviest first."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, TypeAlias

MOST_PIECES: Final = 64
"""Networks that one prefix is cut into in one tick; a single address cut out of an IPv6 /64 leaves as many."""
_MOST_LOOKS: Final = 1024
"""Networks that are looked at for it."""

Range: TypeAlias = tuple[int, int]
"""First and last address, counted from the first one of the prefix."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One network inside the prefix."""

    first: int
    bits: int
    """How many bits of an address it leaves open."""
    value: float
    members: int


def pieces(bits: int, members: Iterable[tuple[int, float]], kept: Iterable[Range], limit: float) -> list[Piece]:
    """Return the networks to stop, in a prefix that leaves ``bits`` open, for what is left not to exceed ``limit``.

    ``members`` are addresses, counted from the prefix's first one, and what each has. A network holds no address of
    ``kept``, is as wide as that allows, and is taken before those with less; so few suffice, unless many are kept.
    """
    offsets, sums = _summed(members)
    starts, ends = _merged(kept)
    rest, looks, found = sums[-1], 0, list[Piece]()
    waiting = [(rest, 0, bits)]
    while waiting and rest > limit and len(found) < MOST_PIECES and looks < _MOST_LOOKS:
        looks += 1
        value, first, width = waiting.pop()
        last = first + (1 << width) - 1
        place = bisect_right(starts, last) - 1
        if place < 0 or ends[place] < first:
            count = bisect_right(offsets, last) - bisect_left(offsets, first)
            found.append(Piece(first, width, value, count))
            rest -= value
        elif width:
            for half in (first, first + (1 << width - 1)):
                inside = _between(half, half + (1 << width - 1) - 1, offsets, sums)
                if inside > 0:
                    insort(waiting, (inside, half, width - 1))
    return found


def _summed(members: Iterable[tuple[int, float]]) -> tuple[list[int], list[float]]:
    ordered = sorted(members)
    return [offset for offset, _ in ordered], [0.0, *accumulate(value for _, value in ordered)]


def _between(first: int, last: int, offsets: list[int], sums: list[float]) -> float:
    return sums[bisect_right(offsets, last)] - sums[bisect_left(offsets, first)]


def _merged(ranges: Iterable[Range]) -> tuple[list[int], list[int]]:
    """Return the first and the last addresses of ranges that do not overlap, ascending."""
    starts, ends = list[int](), list[int]()
    for first, last in sorted(ranges):
        if ends and first <= ends[-1]:
            ends[-1] = max(ends[-1], last)
        else:
            starts.append(first)
            ends.append(last)
    return starts, ends
