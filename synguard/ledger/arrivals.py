"""Long lists of bans that somebody else decided: narrow rows, and the place where a list waits for the table.

A row of the ban table, with its indexes, costs as much as four members of a kernel set. Whoever brings a long list to
the kernel therefore notes it first, as text, for a twentieth of that; then fills the kernel; then ``settle`` moves one
piece after the other into the table. A process that is killed in between leaves a note that the next one settles.
"""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, NamedTuple

from synguard.ledger.bans import insert, replace_open
from synguard.ledger.rows import STANDING, Row, network_columns, to_us
from synguard.memory import in_parts
from synguard.model import Action, Ban, Origin, Scope
from synguard.network_words import network_of_word

PIECE: Final = 1_000
"""Bans that are written in one transaction: others wait for a writer no longer than that takes."""
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

    def pieces(self, size: int = PIECE) -> Iterable[Arrivals]:
        """Yield the list in parts, those that are written at one go if nothing else is said."""
        for some in in_parts(self.bans, size):
            yield replace(self, bans=some)

    def as_bans(self) -> Iterable[Ban]:
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

    def rows(self) -> list[Row]:
        """Return the columns of the ban table."""
        return _rows(self.bans, str(self.origin), self.policy, to_us(self.created_at), int(self.dry_run))


def add(db: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Insert bans, each in place of the open one of the same target, scope, ports, header and dry-run."""
    replace_open(db, rows)
    insert(db, rows)


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
    add(db, _rows(bans, origin, policy, created_us, dry_run))
    db.execute("DELETE FROM arriving WHERE seq = ?", (seq,))
    return True


def active_rows(db: sqlite3.Connection, now: datetime, dry_run: bool) -> list[ActiveRow]:
    """Return the bans that are active at ``now``, the real ones or the would-be ones, oldest first."""
    rows = db.execute(
        f"SELECT id, target, origin, scope, expires_at FROM ban WHERE dry_run = :dry_run AND {STANDING} ORDER BY seq",  # noqa: S608  # constants only
        {"dry_run": int(dry_run), "now": to_us(now)},
    )
    return list(map(ActiveRow._make, rows))


def _rows(bans: Iterable[Arrival], origin: str, policy: str, created_us: int, dry_run: int) -> list[Row]:
    words = Scope.ALL.value, Action.DROP.value, origin, policy
    tail = "", 0.0, 1, "[]", dry_run, 0, "", None, ""
    return [
        (id_, target, *_columns(target), *words, reason, created_us, None if ends is None else ends * _US, *tail)
        for id_, target, ends, reason in bans
    ]


def _columns(target: str) -> tuple[int, int, bytes, bytes]:
    """Return version, prefix length, first and last address; of an IPv4 address, as nearly all are, at once."""
    if ":" in target or "/" in target:
        return network_columns(network_of_word(target))
    packed = socket.inet_pton(socket.AF_INET, target)
    return 4, 32, packed, packed
