"""Banned networks as columns that grow and shrink with the bans: what a tick holds its rows against."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from synguard.ban_columns import FOREVER
from synguard.columns import U64
from synguard.detector.ban_filter import keys_of

_WASTE: Final = 1024
"""Rows that have ended and are still carried along, before they are cut out."""
_MANY: Final = 1_024
"""Rows that wait to be put in: as objects, which take ten times as much."""
_Ends: TypeAlias = npt.NDArray[np.int64]
_Row: TypeAlias = tuple[int, int, int]
"""Both halves of the first address, and until when."""


class BannedNetworks:
    """The networks of one width, port and reach that are banned, each until when; always in the order of their keys.

    One more is put in between: to sort 100,000 for it takes fifty times as long.
    """

    def __init__(self) -> None:
        self._high, self._low = np.zeros(0, np.uint64), np.zeros(0, np.uint64)
        self._until: _Ends = np.zeros(0, np.int64)
        self._coming: list[_Row] = []
        self._going: list[_Row] = []
        self._made: tuple[U64, U64] | None = None
        self._made_for = 0
        """The columns hold from this moment, in microseconds …"""
        self._made_until = 0
        """… to this one."""

    def put(self, halves: tuple[int, int], until: int) -> None:
        """Take in one more row."""
        self._made = None
        self._coming.append((*halves, until))
        if len(self._coming) >= _MANY:
            self._come()

    def put_many(self, high: U64, low: U64, until: _Ends) -> None:
        """Take in a row for each; a few wait for more, as one does."""
        self._made = None
        if len(self._coming) + len(high) < _MANY:
            self._coming.extend(zip(high.tolist(), low.tolist(), until.tolist(), strict=True))
        else:
            self._come()
            self._insert(high, low, until)

    def _insert(self, high: U64, low: U64, until: _Ends) -> None:
        keys = keys_of(high, low)
        order = np.argsort(keys, kind="stable")
        at = np.searchsorted(keys_of(self._high, self._low), keys[order])
        self._high = np.insert(self._high, at, high[order])
        self._low = np.insert(self._low, at, low[order])
        self._until = np.insert(self._until, at, until[order])

    def end(self, halves: tuple[int, int], until: int) -> None:
        """End one row of a network that would last until then; another ban may have put in its equal."""
        self._made = None
        self._going.append((*halves, until))

    def active(self, at: int) -> tuple[U64, U64]:
        """Return the (high, low) of the networks banned beyond ``at``, in the order of their keys."""
        if self._made is None or not self._made_for <= at < self._made_until:
            self._made, self._made_until = self._make(at)
            self._made_for = at
        return self._made

    def beyond(self, at: int) -> tuple[U64, U64]:
        """Return the same for another moment, without keeping it."""
        return self._make(at)[0]

    def has_ended(self, at: int) -> bool:
        """Return whether none of them is banned beyond ``at``."""
        return not self._coming and not (self._until > at).any()

    @property
    def next_end(self) -> int:
        """Until when what ``active`` returned last holds."""
        return self._made_until

    def _make(self, at: int) -> tuple[tuple[U64, U64], int]:
        self._come()
        self._go()
        kept = self._until > at
        ended = len(kept) - int(np.count_nonzero(kept))
        if not ended:
            return (self._high, self._low), int(self._until.min(initial=FOREVER))
        high, low, until = self._high[kept], self._low[kept], self._until[kept]
        if ended > max(_WASTE, len(kept) // 2):
            self._high, self._low, self._until = high, low, until
        return (high, low), int(until.min(initial=FOREVER))

    def _come(self) -> None:
        coming, self._coming = self._coming, []
        if coming:
            high, low = (np.array([row[half] for row in coming], np.uint64) for half in (0, 1))
            self._insert(high, low, np.array([row[2] for row in coming], np.int64))

    def _go(self) -> None:
        if not self._going:
            return
        keys = keys_of(self._high, self._low)
        going = (np.array([row[half] for row in self._going], np.uint64) for half in (0, 1))
        ended: set[int] = set()
        for (high, low, until), first in zip(self._going, np.searchsorted(keys, keys_of(*going)).tolist(), strict=True):
            for row in range(first, len(keys)):
                if keys[row] != keys[first]:
                    break
                if (self._high[row], self._low[row], self._until[row]) == (high, low, until) and row not in ended:
                    ended.add(row)
                    break
        self._going = []
        rows = sorted(ended)
        self._high, self._low = np.delete(self._high, rows), np.delete(self._low, rows)
        self._until = np.delete(self._until, rows)
