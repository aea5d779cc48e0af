"""What columns of very many rows need: types, tables of them, values that rows share, an index sorted now and then."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    U64: TypeAlias = npt.NDArray[np.uint64]
    U32: TypeAlias = npt.NDArray[np.uint32]
    U16: TypeAlias = npt.NDArray[np.uint16]
    U8: TypeAlias = npt.NDArray[np.uint8]
else:  # numpy is a third of what a verb imports, and most verbs read no columns
    U64 = U32 = U16 = U8 = object

    class _Numpy:
        """Numpy, loaded when it is first used: a verb about a few bans never does, and is done before it would be."""

        def __getattr__(self, name: str) -> Any:
            import numpy

            return getattr(numpy, name)

    np = _Numpy()

LATE: Final = 1_024
"""Rows beside the sorted index, and rows that are gone, up to which nothing is sorted or cut out."""

MANY: Final = 16_384
"""Keys of which it is told all at once which are there: a sort of all takes as long as so many look-ups."""


class TextColumn:
    """A word a row, all of them in one text."""

    def __init__(self) -> None:
        self._text, self._starts = bytearray(), array("I")

    def extend(self, words: Iterable[str]) -> None:
        """Take in a row for each word."""
        for word in words:
            self._starts.append(len(self._text))
            self._text += word.encode()

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, row: int) -> str:
        starts = self._starts
        end = starts[row + 1] if row + 1 < len(starts) else len(self._text)
        return self._text[starts[row] : end].decode()

    def take(self, other: TextColumn, rows: npt.NDArray[np.int64]) -> None:
        """Take in the words of those rows, in ascending order, of another column."""
        begins = len(self._text)
        text, starts = other._of(rows)
        self._text += text
        self._starts.frombytes((starts + begins).astype(np.uint32).tobytes())

    def keep(self, rows: npt.NDArray[np.int64]) -> None:
        """Cut out all but those rows, in ascending order."""
        text, starts = self._of(rows)
        self._text, self._starts = bytearray(text), array("I", starts.astype(np.uint32).tobytes())

    def _of(self, rows: npt.NDArray[np.int64]) -> tuple[bytes, npt.NDArray[np.int64]]:
        """Return the words of those rows as one text, and where in it each begins."""
        starts = np.append(np.frombuffer(self._starts, np.uint32), len(self._text)).astype(np.int64)
        lengths, kept = np.diff(starts), np.zeros(len(starts) - 1, np.bool_)
        kept[rows] = True
        text = np.frombuffer(self._text, np.uint8)[np.repeat(kept, lengths)].tobytes()
        return text, np.cumsum(lengths[rows]) - lengths[rows]


KINDS: Final = {"U8": "u1", "U16": "u2", "U32": "u4", "U64": "u8"}
"""Column types as annotations name them → kinds of column."""


class ColumnTable:
    """What dataclasses can do that are columns of equal length, one row each; a column may be such a table itself."""

    __slots__: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(getattr(self, self.__slots__[0]))

    def _columns(self) -> list[Any]:
        return [getattr(self, name) for name in self.__slots__]

    def where(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64] | slice) -> Self:
        """Return the rows where ``rows`` (bool, one per row) is true, or those that it numbers."""
        return type(self)(*[one.where(rows) if isinstance(one, ColumnTable) else one[rows] for one in self._columns()])

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of all parts, at least one, one after another."""
        columns = zip(*(part._columns() for part in parts), strict=True)
        return cls(*(one[0].joined(one) if isinstance(one[0], ColumnTable) else np.concatenate(one) for one in columns))

    @classmethod
    def none(cls) -> Self:
        """Return no rows, of a table whose columns are ``KINDS``."""
        return cls(*(np.empty(0, KINDS[str(column.type)]) for column in fields(cls)))  # type: ignore[arg-type]  # of a dataclass


class SharedValues:
    """What many rows have in common, once; a row holds its number."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._numbers: dict[Hashable, int] = {}
        self._uses = array("I")
        self._free: list[int] = []
        self._last: tuple[Hashable, int] = (None, -1)
        """Rows that come together often have the same; that needs no hash of it."""

    def put(self, item: Hashable, rows: int = 1) -> int:
        """Return the number of a value for one more row, or for so many."""
        if item == self._last[0]:
            self._uses[self._last[1]] += rows
            return self._last[1]
        number = self._numbers.get(item)
        if number is None:
            if self._free:
                number = self._free.pop()
                self.items[number] = item
            else:
                number = len(self.items)
                self.items.append(item)
                self._uses.append(0)
            self._numbers[item] = number
        self._uses[number] += rows
        self._last = item, number
        return number

    def put_many(self, other: SharedValues, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
        """Return the numbers of values for more rows, which have those ``numbers`` in another pool."""
        uses = np.bincount(numbers, minlength=len(other.items))
        mine = np.zeros(len(uses), np.uint32)
        for number in np.flatnonzero(uses).tolist():
            mine[number] = self.put(other.items[number], int(uses[number]))
        return mine[numbers]

    def drop(self, number: int) -> None:
        """Know that one row less has it."""
        self._uses[number] -= 1
        if not self._uses[number]:
            del self._numbers[self.items[number]]
            self.items[number] = None
            self._last = (None, -1)
            self._free.append(number)

    def numbers_in(self, other: SharedValues) -> npt.NDArray[np.int64]:
        """Return for each number the one that the other pool has for the same, or -1."""
        return np.array([-1 if item is None else other._numbers.get(item, -1) for item in self.items], np.int64)


class RowIndex:
    """Key → rows: the rows in the order of their keys, and beside them what came since they were sorted.

    The keys are the caller's, who gives them by row: a second copy of each would be half of what an index takes.
    """

    def __init__(self) -> None:
        self._rows = array("I")
        self._late: dict[int, int | list[int]] = {}
        self.late = 0
        """How many rows came since it was sorted."""
        self._maybe, self._shift = bytearray(1), 64
        """A bit for the first bits of a key: whether a sorted one begins so. Most that are asked for are not there."""

    def rows(self, key: int, key_of: Callable[[int], int]) -> Sequence[int]:
        """Return the rows of this key, those that are gone too."""
        found = self._late.get(key, ())
        late: Sequence[int] = (found,) if isinstance(found, int) else found
        bit = key >> self._shift
        if not self._maybe[bit >> 3] >> (bit & 7) & 1:
            return late
        rows = self._rows
        first = last = bisect_left(rows, key, key=key_of)
        while last < len(rows) and key_of(rows[last]) == key:
            last += 1
        return late if first == last else (*rows[first:last], *late)

    def put(self, key: int, row: int) -> None:
        """Take in one more row."""
        late = self._late.setdefault(key, row)
        if isinstance(late, list):
            late.append(row)
        elif late != row:
            self._late[key] = [late, row]
        self.late += 1

    def has(self, keys: U64, key_of: Callable[[int], int], known: Callable[[], U64]) -> npt.NDArray[np.bool_]:
        """Return which of these keys have rows, those that are gone too; ``known`` gives the keys of all rows."""
        if len(keys) > MANY:
            return np.isin(keys, known())
        return np.array([bool(self.rows(key, key_of)) for key in keys.tolist()], np.bool_)

    def sort(self, keys: U64) -> None:
        """Begin anew with the key of each row."""
        self._rows = array("I", np.argsort(keys, kind="stable").astype(np.uint32).tobytes())
        self._late, self.late = {}, 0
        bits = max(len(keys) * 8, LATE).bit_length()
        self._shift, maybe = 64 - bits, np.zeros(1 << bits, np.uint8)
        maybe[keys >> np.uint64(self._shift)] = 1
        self._maybe = bytearray(np.packbits(maybe, bitorder="little").tobytes())

    def all_rows(self, keys: U64) -> npt.NDArray[np.uint32]:
        """Return all rows in the order of their keys."""
        if self._late:
            self.sort(keys)
        return np.frombuffer(self._rows, np.uint32)
