"""Columns of rows as bytes: a table that repeats the last one costs what changed in it.

A quiet server shows the same connections second after second, and a full SYN queue the same half-open sockets tick
after tick. So a table is written as one bit for each row of the last table, kept or gone, and the rows that are new.
Bytes of equal weight stand together (the high bytes of all addresses, then the next), which is what makes columns
of numbers compress.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Column: TypeAlias = npt.NDArray[Any]
Columns: TypeAlias = Mapping[str, Column]
"""Name → unsigned integers; all of one length."""
Kinds: TypeAlias = Mapping[str, str]
"""Name → ``u1``, ``u2``, ``u4`` or ``u8``, in the order in which the columns are written."""

_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)


class DamagedError(ValueError):
    """Bytes that no recorder wrote; the text says what is wrong, without file or place."""


class Bytes:
    """Bytes that are taken from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def take(self, count: int) -> memoryview:
        """Return the next ``count`` bytes.

        Raises:
            DamagedError: There are not that many.
        """
        if count > len(self._data):
            raise DamagedError("rows are missing")
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def end(self) -> None:
        """Check that nothing is left.

        Raises:
            DamagedError: There is.
        """
        if len(self._data):
            raise DamagedError("there are more rows than announced")


def pack(columns: Columns, kinds: Kinds) -> bytes:
    """Return the columns as bytes, those of equal weight together."""
    return b"".join(_shuffled(columns[name], kind) for name, kind in kinds.items())


def unpack(data: Bytes, kinds: Kinds, rows: int) -> dict[str, Column]:
    """Return columns of ``rows`` rows as ``pack`` wrote them.

    Raises:
        DamagedError: There are fewer bytes than that.
    """
    columns: dict[str, Column] = {}
    for name, kind in kinds.items():
        width = int(kind[1])
        raw = np.frombuffer(data.take(rows * width), np.uint8).reshape(width, rows)
        columns[name] = np.ascontiguousarray(raw.T).view(f"<{kind}").reshape(rows)
    return columns


def length(columns: Columns) -> int:
    """Return how many rows there are."""
    return len(next(iter(columns.values())))


def no_rows(kinds: Kinds) -> dict[str, Column]:
    """Return columns without a row."""
    return {name: np.empty(0, f"<{kind}") for name, kind in kinds.items()}


class Differ:
    """Writes each table as its difference from the one before."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._last: Columns = no_rows(kinds)

    def write(self, columns: Columns) -> tuple[int, bytes]:
        """Return how many rows are new, and the bytes; rows come back in another order, kept ones first."""
        kept, new = _matched(self._last, columns)
        fresh = {name: columns[name][new] for name in self._kinds}
        self._last = _joined(self._last, kept, fresh)
        return int(new.sum()), np.packbits(kept).tobytes() + pack(fresh, self._kinds)


class Joiner:
    """Reads back what ``Differ`` wrote."""

    def __init__(self, kinds: Kinds, most_rows: int) -> None:
        self._kinds = kinds
        self._most_rows = most_rows
        self._last: Columns = no_rows(kinds)

    def read(self, data: Bytes, new: int) -> Columns:
        """Return the next table, which has ``new`` rows that the last had not.

        Raises:
            DamagedError: There are fewer bytes than that, or more rows than any recorder writes.
        """
        before = length(self._last)
        bits = np.frombuffer(data.take((before + 7) // 8), np.uint8)
        kept = np.unpackbits(bits, count=before).astype(np.bool_)
        if int(kept.sum()) + new > self._most_rows:
            raise DamagedError("a table is larger than any recorder writes")
        self._last = _joined(self._last, kept, unpack(data, self._kinds, new))
        return self._last


def _shuffled(column: Column, kind: str) -> bytes:
    raw = np.ascontiguousarray(column, f"<{kind}").view(np.uint8).reshape(-1, int(kind[1]))
    return np.ascontiguousarray(raw.T).tobytes()


def _joined(last: Columns, kept: npt.NDArray[np.bool_], fresh: Columns) -> dict[str, Column]:
    return {name: np.concatenate([last[name][kept], column]) for name, column in fresh.items()}


def _matched(last: Columns, now: Columns) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which rows of ``last`` are still there, and which of ``now`` were not; equal rows pair off one by one.

    Rows are found by a hash and then compared whole, so that rows of equal hash are never taken for each other.
    """
    kept, new = np.zeros(length(last), np.bool_), np.ones(length(now), np.bool_)
    if not len(kept) or not len(new):
        return kept, new
    _, before, after = np.intersect1d(_keys(last), _keys(now), return_indices=True)
    same = np.ones(len(before), np.bool_)
    for name, column in now.items():
        same &= last[name][before] == column[after]
    kept[before[same]] = True
    new[after[same]] = False
    return kept, new


def _keys(columns: Columns) -> npt.NDArray[np.uint64]:
    keys = np.zeros(length(columns), np.uint64)
    for name in sorted(columns):
        keys = (keys ^ (keys >> np.uint64(29)) ^ columns[name].astype(np.uint64)) * _FACTOR
    return keys
