"""What became of the active bans since they were last asked for: reported as changes, known as two numbers a ban."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from synguard.ban_columns import FOREVER
from synguard.ledger.rows import BAN_PACKED, ROWS_AT_ONCE, STANDING, Row, packed_bans, to_us
from synguard.memory import in_parts
from synguard.packed_bans import PackedBans

_Numbers: TypeAlias = npt.NDArray[np.int64]
_OPEN: Final = f"FROM ban WHERE dry_run = :dry_run AND {STANDING}"
_READ: Final = f"SELECT group_concat(seq), group_concat(coalesce(expires_at, {FOREVER})) {_OPEN}"
"""Two texts of numbers: 100,000 rows as objects take four times as long."""
_NONE: Final[_Numbers] = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class ChangedBans:
    """Some of what changed; more is ``left`` for the next call."""

    came: PackedBans = field(default_factory=PackedBans)
    """Bans that are new, or have another end."""
    gone: Sequence[str] = ()
    """Ids of bans that were ended ahead of their time; those that have expired are not reported."""
    standing: Collection[str] | None = None
    """The ids of all that stand, where it is not known which are gone."""
    left: bool = False


class BanChanges:
    """Follows the real bans, or the dry-run ones."""

    def __init__(self, dry_run: bool) -> None:
        self._dry_run = dry_run
        self._seqs, self._ends = _NONE, _NONE
        """Row number and end of what stood, in the order of the rows."""
        self._came, self._gone = _NONE, _NONE
        """Rows that have not been told of yet."""
        self._written: set[str] = set()
        self._at: int | None = None
        self._in_pieces = False

    def wrote(self, ids: Iterable[str]) -> None:
        """Know bans that this process wrote: one of them may have given way to a person's, and was never open."""
        self._written.update(ids)

    def take(self, db: sqlite3.Connection, now: datetime, at_most: int | None) -> ChangedBans:
        """Return what changed until ``now``, up to ``at_most`` of a kind."""
        standing: Collection[str] | None = None
        written: Sequence[str] = ()
        if not len(self._came) and not len(self._gone):
            written = self._without_row(db, now)
            self._written.difference_update(written)
            if self._look(db, now):
                standing = self._standing(db, now)
            if at_most is not None and max(len(self._came), len(self._gone)) > at_most:
                self._in_pieces = True  # the look was work enough for one call
                return ChangedBans(PackedBans(), written, standing, left=True)
        gone, came = self._gone[:at_most], self._came[:at_most]
        ids = [row[0] for row in _rows(db, "id", gone)]
        if len(ids) < len(gone):  # pruned meanwhile
            standing = self._standing(db, now)
        bans = packed_bans(_rows(db, BAN_PACKED, came, "AND ended_at IS NULL ORDER BY seq"), to_us(now))
        self._gone, self._came = self._gone[len(gone) :], self._came[len(came) :]
        left = bool(len(self._came) or len(self._gone))
        again = self._in_pieces and not left  # what was written meanwhile has not been looked at
        self._in_pieces = left
        return ChangedBans(bans, [*ids, *written], standing, left or again)

    def _look(self, db: sqlite3.Connection, now: datetime) -> bool:
        """Note which rows came and went; return whether that is not known: the clock was set back."""
        at, before = to_us(now), self._at
        seqs, ends = map(_numbers, db.execute(_READ, self._asked(now)).fetchone())
        order = np.argsort(seqs)
        seqs, ends = seqs[order], ends[order]
        set_back = before is not None and at < before
        known = np.zeros(len(seqs), np.bool_)
        if len(self._seqs) and not set_back:
            where = np.searchsorted(self._seqs, seqs)
            where[where == len(self._seqs)] = 0
            known = (self._seqs[where] == seqs) & (self._ends[where] == ends)
        self._came = seqs[~known]
        self._gone = self._seqs[(self._ends > at) & ~np.isin(self._seqs, seqs)]
        self._seqs, self._ends, self._at = seqs, ends, at
        return set_back

    def _without_row(self, db: sqlite3.Connection, now: datetime) -> list[str]:
        """Return the bans written by this process that do not stand."""
        left = set(self._written)
        for part in in_parts(sorted(left), ROWS_AT_ONCE):
            marks = ", ".join(f":i{number}" for number in range(len(part)))
            words = {f"i{number}": id_ for number, id_ in enumerate(part)} | self._asked(now)
            left -= {row[0] for row in db.execute(f"SELECT id {_OPEN} AND id IN ({marks})", words)}  # marks
        self._written &= left
        return sorted(left)

    def _standing(self, db: sqlite3.Connection, now: datetime) -> set[str]:
        return {row[0] for row in db.execute(f"SELECT id {_OPEN}", self._asked(now))}  # constants only

    def _asked(self, now: datetime) -> dict[str, int | str]:
        return {"dry_run": int(self._dry_run), "now": to_us(now)}


def _numbers(text: str | None) -> _Numbers:
    return np.fromstring(text or "", np.int64, sep=",")


def _rows(db: sqlite3.Connection, columns: str, seqs: _Numbers, beyond: str = "") -> Iterator[Row]:
    for part in in_parts(seqs.tolist(), ROWS_AT_ONCE):
        marks = ", ".join("?" * len(part))
        yield from db.execute(f"SELECT {columns} FROM ban WHERE seq IN ({marks}) {beyond}", part)  # noqa: S608  # marks
