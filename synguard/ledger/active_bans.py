"""The active bans, read again and again: rows that are known are not taken apart anew."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from synguard.ledger.rows import BAN_ENDS, BAN_READ, ROWS_AT_ONCE, STANDING, ban_of, maybe_us, to_us
from synguard.model import Ban

_READ: Final = f"SELECT seq, expires_at FROM ban WHERE dry_run = :dry_run AND {STANDING}"  # noqa: S608  # constants only
"""Answered from the index ``ban_standing`` alone."""


@dataclass(slots=True)
class _View:
    """What was last read of the real bans, or of the would-be ones."""

    there: dict[int, int | None] = field(default_factory=dict)
    """Row number → expiry of what stood."""
    rows: dict[int, tuple[int | None, Ban]] = field(default_factory=dict)
    bans: dict[str, Ban] = field(default_factory=dict)
    """The same by id, oldest first."""
    unread: deque[int] = field(default_factory=deque)
    """Rows that stood when they were looked up, and are taken apart piece by piece."""

    def unknown(self, there: Mapping[int, int | None]) -> list[int]:
        """Return the rows that stand and have not been taken apart as they are now, oldest first."""
        if there == self.there:
            return []
        return sorted(
            seq
            for seq, ends in there.items() - self.there.items()
            if (known := self.rows.get(seq)) is None or known[0] != ends
        )

    def take(self, some: Iterable[int]) -> None:
        """Hold these rows, which are known, beside what is held: the last look at a long list then finds little new."""
        for seq in some:
            if seq in self.rows:
                self.there[seq], ban = self.rows[seq]
                self.bans[ban.id] = ban

    def follow(self, there: dict[int, int | None]) -> None:
        """Hold what stands now, every row of which is known."""
        for seq in self.rows.keys() - there.keys():
            ban = self.rows.pop(seq)[1]
            self.bans.pop(ban.id, None)
        for seq, _ in sorted(there.items() - self.there.items(), key=lambda item: item[0]):
            ban = self.rows[seq][1]
            self.bans[ban.id] = ban
        self.there = there


class ActiveBanCache:
    """Reads standing bans again and again, taking apart only those rows that it has not seen before.

    A ban that is as it was is the same object every time, so that who compares may do so by identity.
    """

    def __init__(self) -> None:
        self._views = {False: _View(), True: _View()}
        self._written: dict[str, Ban] = {}

    def wrote(self, bans: Iterable[Ban]) -> None:
        """Know bans that this process has just written: their rows need not be taken apart."""
        self._written = {ban.id: ban for ban in bans}

    def read(self, db: sqlite3.Connection, now: datetime, dry_run: bool) -> dict[str, Ban]:
        """Return id → ban of those that stand at ``now``, oldest first."""
        view = self._views[dry_run]
        there = _there(db, now, dry_run)
        self._take_apart(db, view, view.unknown(there))
        view.unread.clear()
        if there != view.there:
            view.follow(there)
        self._written = {}
        return dict(view.bans)

    def read_some(self, db: sqlite3.Connection, now: datetime, dry_run: bool, at_most: int) -> list[Ban]:
        """Return up to ``at_most`` bans that were not read before, where there are more than that; else none.

        Which ones there are is looked up once for all the pieces: to look at 50,000 rows for each costs more than the
        piece. What has ended or come since is found by the ``read`` that must follow.
        """
        view = self._views[dry_run]
        if not view.unread:
            unknown = view.unknown(_there(db, now, dry_run))
            if len(unknown) <= at_most:
                return []
            view.unread.extend(unknown)
        some = [view.unread.popleft() for _ in range(min(at_most, len(view.unread)))]
        self._take_apart(db, view, some)
        view.take(some)
        return [ban for seq in some if (ban := view.rows[seq][1]).active(now)]

    def _take_apart(self, db: sqlite3.Connection, view: _View, unknown: Sequence[int]) -> None:
        for start in range(0, len(unknown), ROWS_AT_ONCE):
            some = unknown[start : start + ROWS_AT_ONCE]
            some = self._without_written(db, view, some)
            marks = ", ".join("?" * len(some))
            for row in db.execute(f"SELECT seq, {BAN_READ} FROM ban WHERE seq IN ({marks})", some).fetchall():  # noqa: S608  # question marks only
                view.rows[row[0]] = (row[BAN_ENDS + 1], ban_of(row[1:]))

    def _without_written(self, db: sqlite3.Connection, view: _View, rows: Sequence[int]) -> Sequence[int]:
        """Return the rows less those that this process has just written, which it need not take apart."""
        if not self._written:
            return rows
        marks = ", ".join("?" * len(rows))
        left: list[int] = []
        for seq, id_, ends in db.execute(f"SELECT seq, id, expires_at FROM ban WHERE seq IN ({marks})", rows):  # noqa: S608  # question marks only
            ban = self._written.get(id_)
            if ban is None or maybe_us(ban.expires_at) != ends:
                left.append(seq)
            else:
                view.rows[seq] = (ends, ban)
        return left


def _there(db: sqlite3.Connection, now: datetime, dry_run: bool) -> dict[int, int | None]:
    """Return row number → expiry of what stands."""
    return dict(db.execute(_READ, {"dry_run": int(dry_run), "now": to_us(now)}).fetchall())
