"""Banned networks as columns that grow and shrink with the bans: what a tick holds its rows against."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from synguard.ban_columns import FOREVER
from synguard.columns import U16, U64
from synguard.detector.ban_filter import Firsts, keys_of

ENDS_SOON: Final = timedelta(seconds=10)
"""A banned target is judged anew for this long before its ban ends, so that one that goes on is renewed in time."""
_WASTE: Final = 1024
"""Rows that have ended and are still carried along, before they are cut out."""
_MANY: Final = 1_024
"""Rows that wait to be put in: as objects, which take ten times as much."""
_Ends: TypeAlias = npt.NDArray[np.int64]
_Row: TypeAlias = tuple[int, int, int, int]
"""Both halves of the first address, the port, and until when."""


class BannedNetworks:
    """The networks of one width and reach that are banned, each on a port, until when; in the order of their keys.

    One more is put in between: to sort 100,000 for it takes fifty times as long.
    """

    def __init__(self) -> None:
        self._keys, self._high, self._low = np.zeros((3, 0), np.uint64)
        self._until: _Ends = np.zeros(0, np.int64)
        self._coming: list[_Row] = []
        self._going: list[_Row] = []
        self._made: Firsts | None = None
        self._made_for = 0
        """The columns hold from this moment, in microseconds …"""
        self._made_until = 0
        """… to this one."""

    def put(self, halves: tuple[int, int], port: int, until: int) -> None:
        """Take in one more row; the port is 0 where all are closed."""
        self._made = None
        self._coming.append((*halves, port, until))
        if len(self._coming) >= _MANY:
            self._come()

    def put_many(self, high: U64, low: U64, port: U16, until: _Ends) -> None:
        """Take in a row for each; a few wait for more, as one does."""
        self._made = None
        if len(self._coming) + len(high) < _MANY:
            self._coming.extend(zip(high.tolist(), low.tolist(), port.tolist(), until.tolist(), strict=True))
        else:
            self._come()
            self._insert(high, low, port, until)

    def _insert(self, high: U64, low: U64, port: U16, until: _Ends) -> None:
        keys = keys_of(high, low, port)
        order = np.argsort(keys, kind="stable")
        at = np.searchsorted(self._keys, keys[order])
        self._keys = np.insert(self._keys, at, keys[order])
        self._high = np.insert(self._high, at, high[order])
        self._low = np.insert(self._low, at, low[order])
        self._until = np.insert(self._until, at, until[order])

    def end(self, halves: tuple[int, int], port: int, until: int) -> None:
        """End one row of a network that would last until then; another ban may have put in its equal."""
        self._made = None
        self._going.append((*halves, port, until))

    def active(self, at: int) -> Firsts:
        """Return the networks banned beyond ``at``."""
        if self._made is None or not self._made_for <= at < self._made_until:
            self._made, self._made_until = self._make(at)
            self._made_for = at
        return self._made

    def beyond(self, at: int) -> Firsts:
        """Return the same for another moment, without keeping it."""
        return self._make(at)[0]

    @property
    def next_end(self) -> int:
        """Until when what ``active`` returned last holds."""
        return self._made_until

    def _make(self, at: int) -> tuple[Firsts, int]:
        self._come()
        self._go()
        kept = self._until > at
        ended = len(kept) - int(np.count_nonzero(kept))
        if not ended:
            return (self._keys, self._high, self._low), int(self._until.min(initial=FOREVER))
        keys, high, low, until = self._keys[kept], self._high[kept], self._low[kept], self._until[kept]
        if ended > max(_WASTE, len(kept) // 2):
            on = self._until > at - ENDS_SOON // timedelta(microseconds=1)  # as who ends soon is still banned
            self._keys, self._until = self._keys[on], self._until[on]
            self._high, self._low = self._high[on], self._low[on]
        return (keys, high, low), int(until.min(initial=FOREVER))

    def _come(self) -> None:
        coming, self._coming = self._coming, []
        if coming:
            self._insert(*_columns(coming))

    def _go(self) -> None:
        if not self._going:
            return
        keys = keys_of(*_columns(self._going)[:3])
        ended: set[int] = set()
        for (*halves, _, until), first in zip(self._going, np.searchsorted(self._keys, keys).tolist(), strict=True):
            for row in range(first, len(self._keys)):
                if self._keys[row] != self._keys[first]:
                    break
                if [self._high[row], self._low[row], self._until[row]] == [*halves, until] and row not in ended:
                    ended.add(row)
                    break
        self._going = []
        rows = sorted(ended)
        self._keys, self._until = np.delete(self._keys, rows), np.delete(self._until, rows)
        self._high, self._low = np.delete(self._high, rows), np.delete(self._low, rows)


def _columns(rows: list[_Row]) -> tuple[U64, U64, U16, _Ends]:
    high, low, port, until = zip(*rows, strict=True)
    return np.array(high, np.uint64), np.array(low, np.uint64), np.array(port, np.uint16), np.array(until, np.int64)
