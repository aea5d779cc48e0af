"""Very many bans as columns: eighty bytes each, where an object with all that it refers to takes 350."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from synguard.addresses import Network, start_of
from synguard.ban_columns import (
    FOREVER,
    LOW_HALF,
    BanColumns,
    PackedBan,
    Shape,
    column_of,
    target_key,
    time_of,
    width_of,
)
from synguard.columns import TextColumn
from synguard.model import Ban, Origin

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from synguard.ban_columns import Rows
    from synguard.columns import U64
else:
    from synguard.columns import np

T = TypeVar("T", bound=Hashable)


class PackedBans(BanColumns, Mapping[str, Ban]):  # wide: all the ways to look into them
    """Id → ban, oldest first; also by target, and by end. A ban becomes an object when it is asked for."""

    @classmethod
    def of_rows(cls, rows: Iterable[PackedBan]) -> PackedBans:
        """Return the bans of which there are no objects."""
        made = cls()
        made.put_rows(rows)
        return made

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return (self._ids[row] for row in range(len(self._alive)) if self._alive[row])

    def __contains__(self, ban_id: object) -> bool:
        return isinstance(ban_id, str) and self._row(ban_id) is not None

    def __getitem__(self, ban_id: str) -> Ban:
        row = self._row(ban_id)
        if row is None:
            raise KeyError(ban_id)
        return self._ban(row)

    def get(self, ban_id: str, default: Any = None) -> Any:
        """Return the ban of this id, if it is there."""
        row = self._row(ban_id)
        return default if row is None else self._ban(row)

    def pop(self, ban_id: str) -> Ban | None:
        """Let go of the ban of this id; return it if it was there."""
        row = self._row(ban_id)
        if row is None:
            return None
        ban = self._ban(row)
        self._discard(row)
        return ban

    def of(self, target: Network) -> list[Ban]:
        """Return the bans of exactly this target."""
        return self.of_width(target.version, target.prefixlen, start_of(target))

    def of_width(self, version: int, prefixlen: int, start: int) -> list[Ban]:
        """Return the bans of the network that begins there."""
        width, high, low = width_of(version, prefixlen), start >> 64, start & LOW_HALF
        if not self._width_counts[width]:
            return []
        return [
            self._ban(row)
            for row in self._targets().rows(target_key(high, low, width), self._target_key)
            if self._alive[row] and self._low[row] == low and self._high[row] == high and self._widths[row] == width
        ]

    def around(self, network: Network) -> Iterator[Ban]:
        """Yield the bans whose targets cover all of this network."""
        start, most, version = start_of(network), network.max_prefixlen, network.version
        counts = self._width_counts[width_of(version, 0) : width_of(version, network.prefixlen) + 1]
        for prefixlen, there in enumerate(counts):
            if there:
                yield from self.of_width(version, prefixlen, start >> most - prefixlen << most - prefixlen)

    @property
    def next_end(self) -> int:
        """When the first of them ends, in microseconds since 1970."""
        if self._next is None:
            self._next = int(column_of(self._ends).min(initial=FOREVER))
        return self._next

    def ended(self, at: int, at_most: int | None = None) -> list[str]:
        """Return the ids of bans that have ended at this moment, up to ``at_most``."""
        if at < self.next_end:
            return []
        return [self._ids[row] for row in np.flatnonzero(column_of(self._ends) <= at)[:at_most].tolist()]

    def bans(self, rows: Rows) -> Iterator[Ban]:
        """Yield the bans of these rows."""
        return map(self._ban, rows.tolist())

    def ids(self, rows: Rows) -> Iterator[str]:
        """Yield the ids of these rows."""
        return map(self._ids.__getitem__, rows.tolist())

    def columns(self, rows: Rows) -> tuple[U64, U64, npt.NDArray[np.int64]]:
        """Return both halves of the targets' first addresses, and when the bans end."""
        return column_of(self._high)[rows], column_of(self._low)[rows], column_of(self._ends)[rows]

    def latest(self, rows: Rows) -> datetime:
        """Return when the last of these began."""
        return time_of(int(column_of(self._created)[rows].max()))

    def select(self, wanted: Callable[[Origin, Shape], bool]) -> Iterator[Ban]:
        """Yield the bans of an origin and shape that are wanted; the others cost next to nothing."""
        firsts, kinds = self._kinds(rows := self.rows)
        origins = (self._words_pool.items[self._words[row]][0] for row in firsts)
        shapes = (self._shapes.items[self._shape[row]] for row in firsts)
        return self.bans(rows[np.array([*map(wanted, origins, shapes)], np.bool_)[kinds]])

    def groups(self, trait: Callable[[Ban], T], rows: Rows | None = None) -> list[tuple[T, Rows]]:
        """Return what bans have in common, and the rows of those that do.

        A trait may depend on all of a ban but its id, its target's first address, and when it begins and ends: it is
        asked for once for all that are alike otherwise.
        """
        rows = self.rows if rows is None else rows
        firsts, kinds = self._kinds(rows)
        numbers: dict[T, int] = {}
        of = np.array([numbers.setdefault(trait(self._ban(row)), len(numbers)) for row in firsts], np.int64)[kinds]
        parts = np.split(rows[np.argsort(of, kind="stable")], np.cumsum(np.bincount(of))[:-1])
        return list(zip(numbers, parts, strict=False))  # no rows are split into one part

    def _kinds(self, rows: Rows) -> tuple[list[int], Rows]:
        """Return one row of each that differ in words, shape or width, and for all rows which it is."""
        words, shape, width = column_of(self._words), column_of(self._shape), np.frombuffer(self._widths, np.uint8)
        kind = words[rows].astype(np.uint64) << np.uint64(32) | shape[rows] << np.uint64(8) | width[rows]
        _, firsts, kinds = np.unique(kind, return_index=True, return_inverse=True)
        return rows[firsts].tolist(), kinds

    def common(self, other: PackedBans, rows: Rows | None = None) -> list[str]:
        """Return the ids that both have, of all bans here or of some rows."""
        rows = self.rows if rows is None else rows
        maybe = self.ids(rows[other._has_keys(column_of(self._keys)[rows])])
        return [ban_id for ban_id in maybe if ban_id in other]

    def rivals(self, other: PackedBans, rows: Rows) -> npt.NDArray[np.bool_]:
        """Return for each row whether its target may be that of another of these, or of one in the other."""
        keys = self._target_keys()[rows]
        _, which, counts = np.unique(keys, return_inverse=True, return_counts=True)
        found: npt.NDArray[np.bool_] = counts[which] > 1
        return found | other._has_targets(keys) if other else found

    def elsewhere(self, other: PackedBans) -> Iterator[Ban]:
        """Yield the bans whose targets the other has no ban of."""
        mine, its = self.rows, other.rows
        lacking = ~np.isin(self._target_keys()[mine], other._target_keys()[its])
        yield from self.bans(mine[lacking])

    def differing(self, other: PackedBans, beside: Collection[str] = ()) -> TextColumn:
        """Return the ids that only one of the two has, or with another target, end or shape, ``beside`` some."""
        ids, same = TextColumn(), self.agreeing(other)  # objects would leave a hole each in memory
        if len(self) == len(other) and same.all():
            return ids
        mine, its = self.rows[~same], other.rows[~other.agreeing(self)]
        told = np.array([hash(ban_id) & LOW_HALF for ban_id in beside], np.uint64)
        mine = mine[~np.isin(column_of(self._keys)[mine], told)]
        told = np.concatenate((told, column_of(self._keys)[mine]))
        its = its[~np.isin(column_of(other._keys)[its], told)]
        ids.take(self._ids, mine)
        ids.take(other._ids, its)
        return ids

    def agreeing(self, other: PackedBans) -> npt.NDArray[np.bool_]:
        """Return for each of ``rows`` whether the other has a ban of the same id, target, end and shape."""
        mine, (others, its) = self.rows, other._sorted()
        keys = column_of(self._keys)[mine]
        at = np.searchsorted(others, keys)
        found = at < len(others)
        found[found] = others[at[found]] == keys[found]
        left, right = mine[found], its[at[found]]
        shapes = self._shapes.numbers_in(other._shapes)[column_of(self._shape)[left]]
        same = shapes == column_of(other._shape)[right]
        for one, two in zip(self._compared(), other._compared(), strict=True):
            same &= one[left] == two[right]
        found[found] = same
        return found

    def _sorted(self) -> tuple[U64, npt.NDArray[np.int64]]:
        """Return the keys of all rows in order, and the rows."""
        rows = self._by_id.all_rows(column_of(self._keys)).astype(np.int64)
        rows = rows[np.frombuffer(self._alive, np.uint8)[rows] == 1]
        return column_of(self._keys)[rows], rows

    def _compared(self) -> tuple[npt.NDArray[Any], ...]:
        return (
            column_of(self._high),
            column_of(self._low),
            np.frombuffer(self._widths, np.uint8),
            column_of(self._ends),
        )
