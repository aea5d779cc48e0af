"""A person's bans of everything, as columns: read and moved very many at once.

They are what a long list makes: no two of one target are open, and nothing but id, target, end and reason tells them
apart. Sample::

    m0123456789ab 203.0.113.9 "scanner, ticket 4711"
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from synguard.ledger.bans import open_ids
from synguard.ledger.rows import BAN_READ, ROWS_AT_ONCE, STANDING, ban_of, from_us, to_us
from synguard.memory import in_parts
from synguard.model import Action, Ban, Origin, Scope
from synguard.network_words import network_of_word

_SUCH: Final = (
    "origin = 'manual' AND scope = 'all' AND action = 'drop' AND ports = '' AND header = '' AND forced = 0 "
    "AND score = 0 AND times = 1 AND evidence = '[]' AND policy = :policy"
)
_OPEN: Final = f"FROM ban WHERE dry_run = 0 AND {STANDING} AND"
_READ: Final = f"SELECT id, target, expires_at, reason, created_at {_OPEN} {_SUCH} ORDER BY seq"  # constants only
_OTHERS: Final = f"SELECT {BAN_READ} {_OPEN} NOT ({_SUCH}) ORDER BY seq"  # constants only
_MOVE: Final = "UPDATE ban SET expires_at = ? WHERE ended_at IS NULL"


class EndedError(Exception):
    """Bans that were to be moved have been ended: what was begun is undone."""

    def __init__(self, ids: list[str]) -> None:
        super().__init__(f"{len(ids)} bans have been ended")
        self.ids = ids


class ActiveDrop(NamedTuple):
    """One of them."""

    id: str
    target: str
    """As ``format_network`` writes it."""
    expires_us: int | None
    """UTC microseconds since 1970; None for good."""
    reason: str
    created_us: int

    def as_ban(self, policy: str) -> Ban:
        """Return the ban, whose policy all of them share."""
        return Ban(
            id=self.id,
            target=network_of_word(self.target),
            scope=Scope.ALL,
            action=Action.DROP,
            origin=Origin.MANUAL,
            policy=policy,
            reason=self.reason,
            created_at=from_us(self.created_us),
            expires_at=None if self.expires_us is None else from_us(self.expires_us),
        )


def read(db: sqlite3.Connection, now: datetime, policy: str) -> tuple[list[ActiveDrop], list[Ban]]:
    """Return those of one policy that are active, and every other real ban that is; each oldest first."""
    asked = {"now": to_us(now), "policy": policy}
    drops = [*map(ActiveDrop._make, db.execute(_READ, asked))]
    return drops, [ban_of(row) for row in db.execute(_OTHERS, asked)]


def move(db: sqlite3.Connection, ids: Sequence[str], at_us: int | None) -> list[str]:
    """Let open bans end then, in UTC microseconds since 1970, or None for good; return those that are not open."""
    moved = 0
    for some in in_parts(ids, ROWS_AT_ONCE):
        marks = ", ".join("?" * len(some))
        moved += db.execute(f"{_MOVE} AND id IN ({marks})", (at_us, *some)).rowcount
    if moved == len(ids):
        return []
    still = open_ids(db, ids)
    return [one for one in ids if one not in still]
