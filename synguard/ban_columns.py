"""Bans as columns: how rows come and go, and how they are found again."""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Hashable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from synguard.addresses import compact_network, numbers_of
from synguard.columns import LATE, RowIndex, SharedValues, TextColumn
from synguard.model import Action, Ban, Origin, Scope
from synguard.syn_header import SynHeader

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from synguard.columns import U64

    Rows: TypeAlias = npt.NDArray[np.int64]
    """Numbers of rows."""
else:
    from synguard.columns import np

Shape: TypeAlias = tuple[Scope, Action, tuple[int, ...], SynHeader | None]
"""What the kernel does for a ban: scope, action, ports, header."""
PackedBan: TypeAlias = tuple[str, int, int, int, int, Shape, Hashable]
"""Id, first address, ``width_of`` the target, end and beginning in microseconds since 1970, shape, words."""

FOREVER: Final = 2**63 - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
LOW_HALF: Final = 2**64 - 1
_MIX_HIGH, _MIX_LOW = (
    secrets.randbits(64) | 1 for _ in range(2)
)  # were they known, a list could name 10,000 of one key
_MIX_WIDTH: Final = 0xC2B2AE3D27D4EB4F
NO_WORDS: Final = (Origin.MANUAL, "", "", 0.0, 1, (), False, False)


def width_of(version: int, prefixlen: int) -> int:
    """Return IP version and prefix length as one number below 256."""
    return prefixlen if version == 4 else prefixlen + 33


def packed(ban: Ban) -> PackedBan:
    """Return a ban as a row."""
    version, start, prefixlen = numbers_of(ban.target)
    shape = (ban.scope, ban.action, ban.ports, ban.header)
    words = (ban.origin, ban.policy, ban.reason, ban.score, ban.times, ban.evidence, ban.dry_run, ban.forced)
    ends, created = microseconds(ban.expires_at), microseconds(ban.created_at)
    return ban.id, start, width_of(version, prefixlen), ends, created, shape, words


def microseconds(at: datetime | None) -> int:
    """Return an aware time as microseconds since 1970; None, which is never, as the largest there is."""
    return FOREVER if at is None else (at - _EPOCH) // _MICROSECOND


_KEPT: Final[dict[int, datetime]] = {}
"""Moments that were asked for lately: a hundred thousand bans of one list share two."""


def moment(value: int) -> datetime | None:
    """Return the time that is so many microseconds since 1970, or None for never."""
    return None if value == FOREVER else time_of(value)


def time_of(value: int) -> datetime:
    """Return the time that is so many microseconds since 1970."""
    if value not in _KEPT:
        if len(_KEPT) >= 256:
            _KEPT.clear()
        _KEPT[value] = _EPOCH + timedelta(microseconds=value)
    return _KEPT[value]


class BanColumns:  # wide: a column a field
    """Rows of bans, oldest first, found by id or by target."""

    def __init__(self, bans: Iterable[Ban] = ()) -> None:
        self._ids = TextColumn()
        self._keys, self._high, self._low = array("Q"), array("Q"), array("Q")
        self._ends, self._created = array("q"), array("q")
        self._widths, self._alive = bytearray(), bytearray()
        self._shape, self._words = array("I"), array("I")
        self._shapes, self._words_pool = SharedValues(), SharedValues()
        self._by_id = RowIndex()
        self._by_target: RowIndex | None = None
        """Made when it is first asked for."""
        self._count = 0
        self._width_counts = [0] * 256
        self._next: int | None = FOREVER
        self.put_rows(map(packed, bans))

    @property
    def rows(self) -> Rows:
        """The numbers of the rows of all bans, oldest first; they hold until the next change."""
        return np.flatnonzero(np.frombuffer(self._alive, np.uint8))

    def put(self, ban: Ban) -> None:
        """Take in a ban, instead of one of the same id; it is the newest."""
        self.put_rows((packed(ban),))

    def put_rows(self, rows: Iterable[PackedBan]) -> None:
        """Take in what makes bans, of which there may be no objects; the last of an id stays."""
        last = dict[str, PackedBan]()
        for row in rows:
            last.pop(row[0], None)
            last[row[0]] = row
        if not last:
            return
        ids, starts, widths, ends, created, shapes, words = zip(*last.values(), strict=True)
        if self._count:
            for ban_id in ids:
                self.discard(ban_id)
        self._ids.extend(ids)
        self._keys.extend([hash(ban_id) & LOW_HALF for ban_id in ids])
        self._high.extend([start >> 64 for start in starts])
        self._low.extend([start & LOW_HALF for start in starts])
        self._widths.extend(widths)
        self._ends.extend(ends)
        self._created.extend(created)
        self._shape.extend(map(self._shapes.put, shapes))
        self._words.extend(map(self._words_pool.put, words))
        self._came(len(last))

    def put_many(self, other: BanColumns, rows: Rows | None = None) -> None:
        """Take in all bans of the other, or some of its rows in their order: none of them becomes an object."""
        rows = other.rows if rows is None else rows
        if self._count:
            for row in rows[self._has_keys(column_of(other._keys)[rows])].tolist():
                self.discard(other._ids[row])
        self._ids.take(other._ids, rows)
        for name in ("_keys", "_high", "_low", "_ends", "_created"):
            getattr(self, name).frombytes(column_of(getattr(other, name))[rows].tobytes())
        self._widths += np.frombuffer(other._widths, np.uint8)[rows].tobytes()
        self._shape.frombytes(self._shapes.put_many(other._shapes, column_of(other._shape)[rows]).tobytes())
        self._words.frombytes(self._words_pool.put_many(other._words_pool, column_of(other._words)[rows]).tobytes())
        self._came(len(rows))

    def _came(self, count: int) -> None:
        """Count and index the last rows."""
        first = len(self._alive)
        self._alive += b"\1" * count
        self._count += count
        for width in self._widths[first:]:
            self._width_counts[width] += 1
        if self._next is not None:
            self._next = min(self._next, min(self._ends[first:], default=FOREVER))
        if self._by_id.late + count > max(LATE, self._count // 16):
            self._sort()
            return
        for row in range(first, first + count):
            self._by_id.put(self._keys[row], row)
            if self._by_target is not None:
                self._by_target.put(self._target_key(row), row)

    def discard(self, ban_id: str) -> None:
        """Let go of the ban of this id, if it is there."""
        row = self._row(ban_id)
        if row is not None:
            self._discard(row)

    def _discard(self, row: int) -> None:
        if self._ends[row] == self._next:
            self._next = None
        self._ends[row], self._alive[row] = FOREVER, 0
        self._shapes.drop(self._shape[row])
        self._words_pool.drop(self._words[row])
        self._width_counts[self._widths[row]] -= 1
        self._count -= 1
        if len(self._alive) - self._count > max(LATE, self._count // 2):
            self._cut_out()

    def _cut_out(self) -> None:
        """Cut out the rows that are gone."""
        live = self.rows
        self._ids.keep(live)
        for name in ("_keys", "_high", "_low", "_ends", "_created", "_shape", "_words"):
            column = getattr(self, name)
            setattr(self, name, array(column.typecode, column_of(column)[live].tobytes()))
        self._widths = bytearray(np.frombuffer(self._widths, np.uint8)[live].tobytes())
        self._alive = bytearray(b"\1") * self._count
        self._sort()

    def _sort(self) -> None:
        """Sort into the indexes what came late."""
        self._by_id.sort(column_of(self._keys))
        if self._by_target is not None:
            self._by_target.sort(self._target_keys())

    def _row(self, ban_id: str) -> int | None:
        for row in self._by_id.rows(hash(ban_id) & LOW_HALF, self._keys.__getitem__):
            if self._alive[row] and self._ids[row] == ban_id:
                return row
        return None

    def _has_keys(self, keys: U64) -> npt.NDArray[np.bool_]:
        """Return which of these keys of ids are here, or were."""
        return self._by_id.has(keys, self._keys.__getitem__, lambda: column_of(self._keys))

    def _has_targets(self, keys: U64) -> npt.NDArray[np.bool_]:
        """Return the same for keys of targets."""
        return self._targets().has(keys, self._target_key, self._target_keys)

    def _targets(self) -> RowIndex:
        if self._by_target is None:
            self._by_target = RowIndex()
            self._by_target.sort(self._target_keys())
        return self._by_target

    def _target_key(self, row: int) -> int:
        return target_key(self._high[row], self._low[row], self._widths[row])

    def _target_keys(self) -> U64:
        high, low, widths = column_of(self._high), column_of(self._low), np.frombuffer(self._widths, np.uint8)
        mixed: U64 = (
            low * np.uint64(_MIX_LOW) + high * np.uint64(_MIX_HIGH) + widths.astype(np.uint64) * np.uint64(_MIX_WIDTH)
        )
        return mixed

    def _ban(self, row: int) -> Ban:
        scope, action, ports, header = self._shapes.items[self._shape[row]]
        origin, policy, reason, score, times, evidence, dry_run, forced = self._words_pool.items[self._words[row]]
        width, start = self._widths[row], self._high[row] << 64 | self._low[row]
        target = compact_network(4, start, width) if width < 33 else compact_network(6, start, width - 33)
        created, ends = time_of(self._created[row]), moment(self._ends[row])
        return Ban(
            self._ids[row], target, scope, action, origin, policy, reason, created, ends, ports, score, times, evidence,
            dry_run, forced, header,
        )  # fmt: skip


def column_of(column: array[int]) -> npt.NDArray[Any]:
    """Return an array as numpy sees it; it cannot grow as long as this is there."""
    return np.frombuffer(column, column.typecode)


def target_key(high: int, low: int, width: int) -> int:
    """Return the key by which a target is found: both halves of its first address, and its width."""
    return (low * _MIX_LOW + high * _MIX_HIGH + width * _MIX_WIDTH) & LOW_HALF
