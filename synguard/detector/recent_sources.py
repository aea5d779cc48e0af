"""Which sampled sources were met before, within the last seconds: a sketch of fixed size.

In a flood of forged sources nearly every sampled SYN is the only one its source ever sends. Such a SYN stands for
``N / dt`` SYN/s, which is near a limit or over it, and yet says nothing: one alone proves nothing. Without this
each of them would be reported and scored at every tick, which is most of what a tick then costs.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from synguard.columns import U64

SLOT_BITS: Final = 20
"""1 Mi slots of eight marks a generation, two marks a source. With 20,000 SYNs kept a second a stranger is taken for
somebody met before in 1 of 1,000 cases at most, which costs an observation more and nothing else."""
REMEMBERED_S: Final = 2.0
"""Length of a generation; a source is known again for one to two of them. One whose kept SYNs are further apart
than that is so far below any limit, or so thinly sampled, that its rate could not be told from noise either."""

_MARK_BITS: Final = SLOT_BITS + 3

Bools = npt.NDArray[np.bool_]
Slots = npt.NDArray[np.uint8]


class RecentSources:
    """Remembers sources by two marks each, mixed by secret odd numbers from ``seed``: no one collides at will."""

    def __init__(self, seed: int) -> None:
        self._mix = np.random.default_rng(seed).integers(1, 2**63, size=3, dtype=np.uint64) << np.uint64(1) | np.uint64(
            1
        )
        self._now, self._before = self._blank(), self._blank()
        self._began_at = float("-inf")

    def met(self, high: U64, low: U64, prefixlen: int, at: float) -> Bools:
        """Return which prefixes of this length (bool, one per row) were met before ``at``, and remember all of them.

        A prefix may be taken for another that was met; one that was met is never forgotten early.
        """
        self._turn(at)
        mixed = self._mixed(high, low, prefixlen)
        known = [np.ones(len(mixed), np.bool_) for _ in range(2)]
        for marks in (mixed >> np.uint64(64 - _MARK_BITS), mixed >> np.uint64(64 - 2 * _MARK_BITS)):
            slots = (marks >> np.uint64(3)) & np.uint64((1 << SLOT_BITS) - 1)
            mark = np.left_shift(np.uint8(1), (marks & np.uint64(7)).astype(np.uint8))
            for generation, among in zip((self._now, self._before), known, strict=True):
                among &= generation[slots] & mark != 0
            np.bitwise_or.at(self._now, slots, mark)  # two sources of one call may share a slot
        return known[0] | known[1]

    def _turn(self, at: float) -> None:
        age = at - self._began_at
        if 0 <= age < REMEMBERED_S:
            return
        self._before = self._now if 0 <= age < 2 * REMEMBERED_S else self._blank()
        self._now, self._began_at = self._blank(), at

    def _mixed(self, high: U64, low: U64, prefixlen: int) -> U64:
        keys = (high + np.uint64(prefixlen)) * self._mix[0]
        keys ^= keys >> np.uint64(29)
        keys = (keys ^ low) * self._mix[1]
        keys ^= keys >> np.uint64(29)
        mixed: U64 = keys * self._mix[2]
        return mixed

    def _blank(self) -> Slots:
        return np.zeros(1 << SLOT_BITS, np.uint8)
