"""A prefix without those in it who must get through: the widest networks that hold none of them, heaviest first."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from synguard.columns import U64
from synguard.detector.columns import place

MOST_PIECES: Final = 64
"""Networks that one prefix is cut into in one tick; a single address cut out of an IPv6 /64 leaves as many."""
_MOST_LOOKS: Final = 1024
"""Networks that are looked at for it."""

Range: TypeAlias = tuple[int, int]
"""First and last address, counted from the first one of the prefix."""
Offsets: TypeAlias = tuple[U64, U64]
"""Addresses, counted in the same way, as (high, low) columns in ascending order."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One network inside the prefix."""

    first: int
    bits: int
    """How many bits of an address it leaves open."""
    value: float
    members: int


class _Part(NamedTuple):
    """A network that is looked at; of members and of spared addresses it holds the rows from one number to another."""

    value: float
    first: int
    bits: int
    members: tuple[int, int]
    spared: tuple[int, int]


def pieces(
    bits: int,
    members: Offsets,
    values: npt.NDArray[np.float64],
    spared: Offsets,
    kept: Iterable[Range],
    limit: float,
) -> list[Piece]:
    """Return the networks to stop, in a prefix that leaves ``bits`` open, for what is left not to exceed ``limit``.

    ``values`` are what each of the ``members`` has. A network holds none of the ``spared`` addresses and nothing of
    ``kept``, is as wide as that allows, and is taken before those with less; so few suffice, unless many are kept.
    Each look costs a search among members and spared addresses, however many they are.
    """
    sums = np.concatenate(([0.0], np.cumsum(values)))
    starts, ends = _merged(kept)
    rest, looks, found = float(sums[-1]), 0, list[Piece]()
    waiting = [_Part(rest, 0, bits, (0, len(values)), (0, len(spared[0])))]
    while waiting and rest > limit and len(found) < MOST_PIECES and looks < _MOST_LOOKS:
        looks += 1
        part = waiting.pop()
        before = bisect_right(starts, part.first + (1 << part.bits) - 1) - 1
        if part.spared[0] == part.spared[1] and (before < 0 or ends[before] < part.first):
            found.append(Piece(part.first, part.bits, part.value, part.members[1] - part.members[0]))
            rest -= part.value
        elif part.bits:
            middle = part.first + (1 << part.bits - 1)
            halves = zip(
                (part.first, middle),
                _cut(members, part.members, middle),
                _cut(spared, part.spared, middle),
                strict=True,
            )
            for first, rows, spared_rows in halves:
                if rows[0] < rows[1]:
                    value = float(sums[rows[1]] - sums[rows[0]])
                    insort(waiting, _Part(value, first, part.bits - 1, rows, spared_rows))
    return found


def _cut(offsets: Offsets, rows: tuple[int, int], at: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return which of some rows lie before an address, and which do not."""
    start, end = rows
    high, low = (column[start:end] for column in offsets)
    middle = start + place(high, low, divmod(at, 1 << 64), "left")
    return (start, middle), (middle, end)


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
