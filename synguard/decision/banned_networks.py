"""Banned networks as columns that grow and shrink with the bans: what a tick holds its rows against."""

from __future__ import annotations

from array import array
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from synguard.detector.ban_filter import by_key
from synguard.readings import U64

FOREVER: Final = np.iinfo(np.int64).max
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_WASTE: Final = 1024
"""Rows that have ended and are still carried along, before they are cut out."""


def microseconds(moment: datetime | None) -> int:
    """Return an aware time as microseconds since 1970; None, which is never, as the largest there is."""
    return int(FOREVER) if moment is None else (moment - _EPOCH) // _MICROSECOND


class BannedNetworks:
    """The networks of one width, port and reach that are banned, each until when."""

    def __init__(self) -> None:
        self._high, self._low, self._until = array("Q"), array("Q"), array("q")
        self._made: tuple[U64, U64] | None = None
        self._made_for = 0
        """The columns hold from this moment, in microseconds …"""
        self._made_until = 0
        """… to this one."""

    def put(self, halves: tuple[int, int], until: int) -> None:
        """Take in one more row."""
        self._made = None
        self._high.append(halves[0])
        self._low.append(halves[1])
        self._until.append(until)

    def end(self, halves: tuple[int, int], until: int) -> None:
        """End one row of a network that would last until then; another ban may have put in its equal."""
        self._made = None
        for row in np.flatnonzero(self._rows_of(halves, until))[:1].tolist():
            self._until[row] = 0

    def active(self, at: int) -> tuple[U64, U64]:
        """Return the (high, low) of the networks banned beyond ``at``, in the order of their keys."""
        if self._made is None or not self._made_for <= at < self._made_until:
            self._made, self._made_until = self._make(at)
            self._made_for = at
        return self._made

    def beyond(self, at: int) -> tuple[U64, U64]:
        """Return the same for another moment, without keeping it."""
        return self._make(at)[0]

    @property
    def next_end(self) -> int:
        """Until when what ``active`` returned last holds."""
        return self._made_until

    def _make(self, at: int) -> tuple[tuple[U64, U64], int]:
        high, low, until = self._columns()
        kept = until > at
        if len(until) - np.count_nonzero(kept) > max(_WASTE, len(until) // 2):
            high, low, until = high[kept], low[kept], until[kept]
            self._high, self._low = array("Q", high.tobytes()), array("Q", low.tobytes())
            self._until = array("q", until.tobytes())
            kept = np.ones(len(until), np.bool_)
        high, low, until = high[kept], low[kept], until[kept]
        return by_key(high, low), int(until.min(initial=FOREVER))

    def _rows_of(self, halves: tuple[int, int], until: int) -> npt.NDArray[np.bool_]:
        high, low, ends = self._columns()
        return np.asarray((high == np.uint64(halves[0])) & (low == np.uint64(halves[1])) & (ends == until), np.bool_)

    def _columns(self) -> tuple[U64, U64, npt.NDArray[np.int64]]:
        """Return copies: an array cannot grow while a view of it lives."""
        return (
            np.array(self._high, np.uint64),
            np.array(self._low, np.uint64),
            np.array(self._until, np.int64),
        )
