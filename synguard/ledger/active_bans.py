"""The active bans, read again and again: rows that are known are not taken apart anew."""

from __future__ import annotations

import sqlite3
from array import array
from bisect import bisect_left
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from synguard.ledger.rows import BAN_READ, ROWS_AT_ONCE, STANDING, ban_of, maybe_us, to_us
from synguard.memory import in_parts
from synguard.model import Ban

_NEVER: Final = -1
_READ: Final = f"SELECT seq, coalesce(expires_at, {_NEVER}) FROM ban WHERE dry_run = :dry_run AND {STANDING}"  # noqa: S608  # constants only
"""Answered from the index ``ban_standing`` alone."""


class _Rows:
    """Row number → ban, oldest first: a number and a reference each, where a dict would take seven times as much."""

    def __init__(self) -> None:
        self._seqs = array("q")
        self.bans: list[Ban] = []

    def get(self, seq: int) -> Ban | None:
        """Return the ban of this row, if it is known."""
        at = bisect_left(self._seqs, seq)
        return self.bans[at] if at < len(self._seqs) and self._seqs[at] == seq else None

    def put(self, seq: int, ban: Ban) -> None:
        """Know one row as it is now; new ones come last, mostly."""
        at = len(self._seqs) if not self._seqs or seq > self._seqs[-1] else bisect_left(self._seqs, seq)
        if at < len(self._seqs) and self._seqs[at] == seq:
            self.bans[at] = ban
        else:
            self._seqs.insert(at, seq)
            self.bans.insert(at, ban)

    def keep(self, there: Container[int]) -> None:
        """Let go of the rows that are no more there."""
        kept = [(seq, ban) for seq, ban in zip(self._seqs, self.bans, strict=True) if seq in there]
        if len(kept) < len(self.bans):
            self._seqs, self.bans = array("q", (seq for seq, _ in kept)), [ban for _, ban in kept]


class _View:
    """What was last read of the real bans, or of the dry-run ones."""

    def __init__(self) -> None:
        self._seqs, self._ends = array("q"), array("q")
        """Row number and expiry of what stood, in the order of the index: two numbers a ban."""
        self.rows = _Rows()

    def changed(self, there: Mapping[int, int]) -> list[int]:
        """Return the rows that did not stand then, or until another moment, oldest first."""
        seqs, ends = array("q", there), array("q", there.values())
        if (seqs, ends) == (self._seqs, self._ends):
            return []
        return sorted(seq for seq, _ in there.items() - dict(zip(self._seqs, self._ends, strict=True)).items())

    def unknown(self, there: Mapping[int, int], changed: Iterable[int]) -> list[int]:
        """Return those of them that have not been taken apart as they are now."""
        return [seq for seq in changed if (known := self.rows.get(seq)) is None or _ends(known) != there[seq]]

    def follow(self, there: Mapping[int, int], changed: Sequence[int]) -> None:
        """Hold what stands now, every row of which is known."""
        if not changed and len(there) == len(self._seqs):
            return
        self.rows.keep(there)
        self._seqs, self._ends = array("q", there), array("q", there.values())


class ActiveBanCache:
    """Reads active bans again and again, taking apart only those rows that it has not seen before.

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
        changed = view.changed(there)
        self._take_apart(db, view, view.unknown(there, changed))
        view.follow(there, changed)
        self._written = {}
        return {ban.id: ban for ban in view.rows.bans}

    def _take_apart(self, db: sqlite3.Connection, view: _View, unknown: Sequence[int]) -> None:
        for part in in_parts(unknown, ROWS_AT_ONCE):
            some = self._without_written(db, view, part)
            marks = ", ".join("?" * len(some))
            for row in db.execute(f"SELECT seq, {BAN_READ} FROM ban WHERE seq IN ({marks})", some).fetchall():  # noqa: S608  # question marks only
                view.rows.put(row[0], ban_of(row[1:]))

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
                view.rows.put(seq, ban)
        return left


def _there(db: sqlite3.Connection, now: datetime, dry_run: bool) -> dict[int, int]:
    """Return row number → expiry of what stands."""
    return dict(db.execute(_READ, {"dry_run": int(dry_run), "now": to_us(now)}).fetchall())


def _ends(ban: Ban) -> int:
    return _NEVER if ban.expires_at is None else to_us(ban.expires_at)
