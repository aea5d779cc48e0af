"""Very many bans as columns: ninety bytes each, where an object with all that it refers to takes 350."""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from synguard.addresses import Network, compact_network, start_of
from synguard.columns import LATE, U64, RowIndex, SharedValues
from synguard.model import Action, Ban, Origin, Scope
from synguard.syn_header import SynHeader

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
else:
    from synguard.columns import np

Shape: TypeAlias = tuple[Scope, Action, tuple[int, ...], SynHeader | None]
"""What the kernel does for a ban: scope, action, ports, header."""

_FOREVER: Final = 2**63 - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_64_BITS: Final = 2**64 - 1
_MIX, _MIX_WIDTH = secrets.randbits(64) | 1, 0xC2B2AE3D27D4EB4F  # were it known, a list could name 10,000 of one key
_NO_WORDS: Final = (Origin.MANUAL, "", "", 0.0, 1, (), False, False)


def microseconds(at: datetime | None) -> int:
    """Return an aware time as microseconds since 1970; None, which is never, as the largest there is."""
    return _FOREVER if at is None else (at - _EPOCH) // _MICROSECOND


_KEPT: Final[dict[int, datetime]] = {}
"""Moments that were asked for lately: a hundred thousand bans of one list share two."""


def moment(value: int) -> datetime | None:
    """Return the time that is so many microseconds since 1970, or None for never."""
    return None if value == _FOREVER else _time(value)


def _time(value: int) -> datetime:
    if value not in _KEPT:
        if len(_KEPT) >= 256:
            _KEPT.clear()
        _KEPT[value] = _EPOCH + timedelta(microseconds=value)
    return _KEPT[value]


class PackedBans(Mapping[str, Ban]):  # wide: a column a field, and the ways to look into them
    """Id → ban, oldest first; also by target, and by end. A ban becomes an object when it is asked for."""

    def __init__(self, bans: Iterable[Ban] = ()) -> None:
        self._text, self._starts = bytearray(), array("I")
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
        self._next: int | None = _FOREVER
        for ban in bans:
            self.put(ban)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return (self._id(row) for row in range(len(self._alive)) if self._alive[row])

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

    def put(self, ban: Ban) -> None:
        """Take in a ban, instead of one of the same id; it is the newest."""
        words = (ban.origin, ban.policy, ban.reason, ban.score, ban.times, ban.evidence, ban.dry_run, ban.forced)
        shape = (ban.scope, ban.action, ban.ports, ban.header)
        self.put_row(ban.id, ban.target, microseconds(ban.expires_at), shape, words, microseconds(ban.created_at))

    def put_row(
        self, ban_id: str, target: Network, ends: int, shape: Shape, words: Hashable = _NO_WORDS, created: int = 0
    ) -> None:
        """Take in what makes a ban, of which there may be no object."""
        self.discard(ban_id)
        row, start, width = len(self._alive), start_of(target), _width(target.version, target.prefixlen)
        key = hash(ban_id) & _64_BITS
        self._starts.append(len(self._text))
        self._text += ban_id.encode()
        self._keys.append(key)
        self._high.append(start >> 64)
        self._low.append(start & _64_BITS)
        self._widths.append(width)
        self._ends.append(ends)
        self._created.append(created)
        self._shape.append(self._shapes.put(shape))
        self._words.append(self._words_pool.put(words))
        self._alive.append(1)
        self._by_id.put(key, row)
        if self._by_target is not None:
            self._by_target.put(_target_key(start, width), row)
        self._count += 1
        self._width_counts[width] += 1
        if self._next is not None and ends < self._next:
            self._next = ends
        if self._by_id.late > max(LATE, self._count // 16):
            self._sort()

    def pop(self, ban_id: str) -> Ban | None:
        """Let go of the ban of this id; return it if it was there."""
        row = self._row(ban_id)
        if row is None:
            return None
        ban = self._ban(row)
        self._discard(row)
        return ban

    def discard(self, ban_id: str) -> None:
        """Let go of the ban of this id, if it is there."""
        row = self._row(ban_id)
        if row is not None:
            self._discard(row)

    def of(self, target: Network) -> list[Ban]:
        """Return the bans of exactly this target."""
        return self.of_width(target.version, target.prefixlen, start_of(target))

    def of_width(self, version: int, prefixlen: int, start: int) -> list[Ban]:
        """Return the bans of the network that begins there."""
        width = _width(version, prefixlen)
        if not self._width_counts[width]:
            return []
        if self._by_target is None:
            self._by_target = RowIndex()
            self._by_target.sort(self._target_keys())
        high, low = start >> 64, start & _64_BITS
        return [
            self._ban(row)
            for row in self._by_target.rows(_target_key(start, width))
            if self._alive[row] and self._low[row] == low and self._high[row] == high and self._widths[row] == width
        ]

    def around(self, network: Network) -> Iterator[Ban]:
        """Yield the bans whose targets cover all of this network."""
        start, most = start_of(network), network.max_prefixlen
        for version, prefixlen in self.widths():
            if version == network.version and prefixlen <= network.prefixlen:
                yield from self.of_width(version, prefixlen, start >> most - prefixlen << most - prefixlen)

    def widths(self) -> Iterator[tuple[int, int]]:
        """Yield IP version and prefix length of all targets, each once."""
        return ((4, width) if width < 33 else (6, width - 33) for width, n in enumerate(self._width_counts) if n)

    @property
    def next_end(self) -> int:
        """When the first of them ends, in microseconds since 1970."""
        if self._next is None:
            self._next = int(np.frombuffer(self._ends, np.int64).min(initial=_FOREVER))
        return self._next

    def ended(self, at: int, at_most: int | None = None) -> list[str]:
        """Return the ids of bans that have ended at this moment, up to ``at_most``."""
        if at < self.next_end:
            return []
        return [self._id(row) for row in np.flatnonzero(np.frombuffer(self._ends, np.int64) <= at)[:at_most].tolist()]

    def select(self, wanted: Callable[[Origin, Shape], bool]) -> Iterator[Ban]:
        """Yield the bans of an origin and shape that are wanted; the others cost next to nothing."""
        shapes, words = self._shapes.items, self._words_pool.items
        for row in range(len(self._alive)):
            if self._alive[row] and wanted(words[self._words[row]][0], shapes[self._shape[row]]):
                yield self._ban(row)

    def elsewhere(self, other: PackedBans) -> Iterator[Ban]:
        """Yield the bans whose targets the other has no ban of."""
        mine, its = self._live(), other._live()
        lacking = ~np.isin(self._target_keys()[mine], other._target_keys()[its])
        yield from map(self._ban, mine[lacking].tolist())

    def differing(self, other: PackedBans) -> list[str]:
        """Return the ids that only one of the two has, or with another target, end or shape."""
        (keys, mine), (others, its) = self._sorted(), other._sorted()
        at = np.searchsorted(others, keys)
        there = at < len(others)
        there[there] = others[at[there]] == keys[there]
        left, right = mine[there], its[at[there]]
        same = (
            self._shapes.numbers_in(other._shapes)[np.frombuffer(self._shape, np.uint32)[left]]
            == (np.frombuffer(other._shape, np.uint32)[right])
        )
        for one, two in zip(self._compared(), other._compared(), strict=True):
            same &= one[left] == two[right]
        agreeing, agreed = np.zeros(len(mine), np.bool_), np.zeros(len(its), np.bool_)
        agreeing[there] = same
        agreed[at[there][same]] = True
        ids = {self._id(row): None for row in np.sort(mine[~agreeing]).tolist()}
        return list(ids | {other._id(row): None for row in np.sort(its[~agreed]).tolist()})

    def _sorted(self) -> tuple[U64, npt.NDArray[np.int64]]:
        """Return the keys of all rows in order, and the rows."""
        rows = self._by_id.all_rows(self._keys).astype(np.int64)
        rows = rows[np.frombuffer(self._alive, np.uint8)[rows] == 1]
        return np.frombuffer(self._keys, np.uint64)[rows], rows

    def _compared(self) -> tuple[npt.NDArray[Any], ...]:
        return (
            np.frombuffer(self._high, np.uint64),
            np.frombuffer(self._low, np.uint64),
            np.frombuffer(self._widths, np.uint8),
            np.frombuffer(self._ends, np.int64),
        )

    def _live(self) -> npt.NDArray[np.int64]:
        return np.flatnonzero(np.frombuffer(self._alive, np.uint8))

    def _target_keys(self) -> U64:
        high, low, widths, _ = self._compared()
        mixed: U64 = low + high * np.uint64(_MIX) + widths.astype(np.uint64) * np.uint64(_MIX_WIDTH)
        return mixed

    def _discard(self, row: int) -> None:
        if self._ends[row] == self._next:
            self._next = None
        self._ends[row], self._alive[row] = _FOREVER, 0
        self._shapes.drop(self._shape[row])
        self._words_pool.drop(self._words[row])
        self._width_counts[self._widths[row]] -= 1
        self._count -= 1
        if len(self._alive) - self._count > max(LATE, self._count // 2):
            self._cut_out()

    def _cut_out(self) -> None:
        """Cut out the rows that are gone."""
        live = self._live()
        starts = np.append(np.frombuffer(self._starts, np.uint32), len(self._text)).astype(np.int64)
        kept = np.repeat(np.frombuffer(self._alive, np.bool_), lengths := starts[1:] - starts[:-1])
        self._text = bytearray(np.frombuffer(self._text, np.uint8)[kept].tobytes())
        self._starts = array("I", (np.cumsum(lengths[live]) - lengths[live]).astype(np.uint32).tobytes())
        for name in ("_keys", "_high", "_low", "_ends", "_created", "_shape", "_words"):
            column = getattr(self, name)
            setattr(self, name, array(column.typecode, np.frombuffer(column, column.typecode)[live].tobytes()))
        self._widths = bytearray(np.frombuffer(self._widths, np.uint8)[live].tobytes())
        self._alive = bytearray(b"\1") * self._count
        self._sort()

    def _sort(self) -> None:
        """Sort into the indexes what came late."""
        self._by_id.sort(np.frombuffer(self._keys, np.uint64))
        if self._by_target is not None:
            self._by_target.sort(self._target_keys())

    def _row(self, ban_id: str) -> int | None:
        for row in self._by_id.rows(hash(ban_id) & _64_BITS):
            if self._alive[row] and self._id(row) == ban_id:
                return row
        return None

    def _id(self, row: int) -> str:
        starts = self._starts
        end = starts[row + 1] if row + 1 < len(starts) else len(self._text)
        return self._text[starts[row] : end].decode()

    def _ban(self, row: int) -> Ban:
        scope, action, ports, header = self._shapes.items[self._shape[row]]
        origin, policy, reason, score, times, evidence, dry_run, forced = self._words_pool.items[self._words[row]]
        width, start = self._widths[row], self._high[row] << 64 | self._low[row]
        target = compact_network(4, start, width) if width < 33 else compact_network(6, start, width - 33)
        created, ends = _time(self._created[row]), moment(self._ends[row])
        return Ban(
            self._id(row), target, scope, action, origin, policy, reason, created, ends, ports, score, times, evidence,
            dry_run, forced, header,
        )  # fmt: skip


def _width(version: int, prefixlen: int) -> int:
    return prefixlen if version == 4 else prefixlen + 33


def _target_key(start: int, width: int) -> int:
    return ((start & _64_BITS) + (start >> 64) * _MIX + width * _MIX_WIDTH) & _64_BITS
