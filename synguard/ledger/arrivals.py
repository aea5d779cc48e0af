"""Long lists of bans that somebody else decided: narrow rows, and the place where a list waits for the table.

A row of the ban table, with its indexes, costs as much as four members of a kernel set. Whoever brings a long list to
the kernel therefore notes it first, as text, for a twentieth of that; then fills the kernel; then ``settle`` moves one
piece after the other into the table. A process that is killed in between leaves a note that the next one settles.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, NamedTuple

from synguard.ledger.bans import replace_open
from synguard.ledger.rows import STANDING, last_address, to_us
from synguard.memory import in_parts
from synguard.model import Action, Ban, Origin, Scope
from synguard.network_words import network_of_word, packed_of_word

PIECE: Final = 1_000
"""Bans that are written in one transaction: others wait for a writer no longer than that takes."""
_COMMON: Final = "scope, action, origin, policy, created_at, dry_run"
_EACH: Final = "id, target, version, prefixlen, first_address, last_address, reason, expires_at"
_NUMBERED: Final = ", ".join(f"?{number}" for number in range(1, 7))
_WIDTH: Final = 8
_ROWS: Final = 100
"""Bans in one statement: of SQLite before 3.32 it takes 999 values."""
_SORTED_IN_KIB: Final = 65_536
"""Memory in which an index is sorted: with SQLite's two MiB that of 100,000 bans goes through files."""
_US: Final = 1_000_000
_FOR_GOOD: Final = "never"


class Arrival(NamedTuple):
    """One ban of a list: all packets of the target are dropped."""

    id: str
    target: str
    """As ``format_network`` writes it."""
    expires_at: int | None
    """UTC seconds since 1970; None for good."""
    reason: str
    """One line."""

    @property
    def expires_us(self) -> int | None:
        """The same in microseconds."""
        return None if self.expires_at is None else self.expires_at * _US


class ActiveRow(NamedTuple):
    """What a list is compared with: an active ban."""

    id: str
    target: str
    origin: str
    scope: str
    expires_at: int | None
    """UTC microseconds since 1970; None for good."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """A list of bans, and what they have in common."""

    origin: Origin
    policy: str
    created_at: datetime
    bans: Sequence[Arrival]
    dry_run: bool = False

    def pieces(self, size: int = PIECE) -> Iterator[Arrivals]:
        """Yield the list in parts, those that are written at one go if nothing else is said."""
        for some in in_parts(self.bans, size):
            yield replace(self, bans=some)

    def as_bans(self) -> Iterator[Ban]:
        """Yield the bans one by one, for those who cannot do with columns."""
        for id_, target, ends, reason in self.bans:
            yield Ban(
                id=id_,
                target=network_of_word(target),
                scope=Scope.ALL,
                action=Action.DROP,
                origin=self.origin,
                policy=self.policy,
                reason=reason,
                created_at=self.created_at,
                expires_at=None if ends is None else datetime.fromtimestamp(ends, UTC),
                dry_run=self.dry_run,
            )

    def rows(self) -> ListRows:
        """Return what the ban table is to hold."""
        return ListRows.of(self.bans, str(self.origin), self.policy, to_us(self.created_at), int(self.dry_run))


@dataclass(frozen=True, slots=True)
class ListRows:
    """A list as the ban table takes it, made ready before the lock is taken."""

    common: tuple[str, str, str, str, int, int]
    """``_COMMON``."""
    targets: Sequence[str]
    values: Sequence[object]
    """``_EACH``, one ban behind the other."""

    @classmethod
    def of(cls, bans: Iterable[Arrival], origin: str, policy: str, created_us: int, dry_run: int) -> ListRows:
        """Return the rows of these bans."""
        targets, values = list[str](), list[object]()
        for id_, target, ends, reason in bans:
            version, first, length = packed_of_word(target)
            last = last_address(first, length)
            targets.append(target)
            values += (id_, target, version, length, first, last, reason, None if ends is None else ends * _US)
        return cls((Scope.ALL.value, Action.DROP.value, origin, policy, created_us, dry_run), targets, values)


def add(db: sqlite3.Connection, rows: ListRows) -> None:
    """Insert bans, each in place of the open one of the same target, scope, ports, header and dry-run."""
    scope, _, _, _, created_us, dry_run = rows.common
    replace_open(db, [(target, scope, "", dry_run, "") for target in rows.targets], created_us)
    with _indexes_made_last(db, len(rows.targets)):
        for some in in_parts(rows.values, _ROWS * _WIDTH):
            db.execute(_insert(len(some) // _WIDTH), (*rows.common, *some))


def _insert(count: int) -> str:
    """Return the statement that inserts so many bans: what they have in common, then what each has."""
    row = f"({_NUMBERED}, '', 0.0, 1, '[]', 0, '', {', '.join('?' * _WIDTH)})"
    return (
        f"INSERT INTO ban ({_COMMON}, ports, score, times, evidence, forced, header, {_EACH}) "  # noqa: S608  # constants
        f"VALUES {', '.join([row] * count)}"
    )


@contextmanager
def _indexes_made_last(db: sqlite3.Connection, coming: int) -> Iterator[None]:
    """Put in what is coming without the indexes, where it is the larger part of the table: made anew they cost half."""
    if coming <= PIECE or db.execute("SELECT count(*) FROM ban").fetchone()[0] > coming:
        yield
        return
    indexes = db.execute("SELECT name, sql FROM sqlite_master WHERE tbl_name = 'ban' AND type = 'index' AND sql != ''")
    made = indexes.fetchall()
    (before,) = db.execute("PRAGMA cache_size").fetchone()
    db.execute(f"PRAGMA cache_size = -{_SORTED_IN_KIB}")
    try:
        for name, _ in made:
            db.execute(f"DROP INDEX {name}")
        yield
        for _, sql in made:
            db.execute(sql)
    finally:
        db.execute(f"PRAGMA cache_size = {before}")


def note(db: sqlite3.Connection, arrivals: Arrivals) -> None:
    """Note a list whose bans are to be settled. One line a ban::

    c0123456789ab 203.0.113.9 1796000000 crowdsecurity/ssh-bf (CrowdSec, origin CAPI)
    """
    common = (str(arrivals.origin), arrivals.policy, to_us(arrivals.created_at), int(arrivals.dry_run))
    db.executemany(
        "INSERT INTO arriving (origin, policy, created_at, dry_run, bans) VALUES (?, ?, ?, ?, ?)",
        [(*common, "\n".join(map(_line, piece.bans))) for piece in arrivals.pieces()],
    )


def _line(one: Arrival) -> str:
    return f"{one.id} {one.target} {_FOR_GOOD if one.expires_at is None else one.expires_at} {one.reason}"


def waiting(db: sqlite3.Connection) -> int:
    """Return how many pieces have not been settled."""
    return int(db.execute("SELECT count(*) FROM arriving").fetchone()[0])


def settle(db: sqlite3.Connection) -> bool:
    """Move the oldest piece into the ban table; return whether there was one."""
    found = db.execute(
        "SELECT seq, origin, policy, created_at, dry_run, bans FROM arriving ORDER BY seq LIMIT 1"
    ).fetchone()
    if found is None:
        return False
    seq, origin, policy, created_us, dry_run, text = found
    lines = (line.split(" ", 3) for line in text.split("\n"))
    bans = [
        Arrival(id_, target, None if ends == _FOR_GOOD else int(ends), reason) for id_, target, ends, reason in lines
    ]
    add(db, ListRows.of(bans, origin, policy, created_us, dry_run))
    db.execute("DELETE FROM arriving WHERE seq = ?", (seq,))
    return True


def active_rows(db: sqlite3.Connection, now: datetime, dry_run: bool) -> list[ActiveRow]:
    """Return the bans that are active at ``now``, the real ones or the dry-run ones, oldest first."""
    rows = db.execute(
        f"SELECT id, target, origin, scope, expires_at FROM ban WHERE dry_run = :dry_run AND {STANDING} ORDER BY seq",  # noqa: S608  # constants only
        {"dry_run": int(dry_run), "now": to_us(now)},
    )
    return list(map(ActiveRow._make, rows))
