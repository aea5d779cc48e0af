"""An order that failed, taken back: what it replaced stands again, and what others did meanwhile stays."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from synguard.ledger.bans import Addition, Key, add_bans, end_bans
from synguard.ledger.rows import BAN_READ, ROWS_AT_ONCE, ban_of, to_us
from synguard.memory import in_parts
from synguard.model import Ban

_KEY: Final = "target, scope, ports, dry_run, header"
_REPLACED: Final = (
    f"SELECT {_KEY}, {BAN_READ} FROM ban WHERE ended_why = 'replaced' AND ended_at = :ended "  # noqa: S608  # constants
    "AND (expires_at IS NULL OR expires_at > :now) ORDER BY seq"
)
_KEYS: Final = 5


def take_back(
    db: sqlite3.Connection, ids: Sequence[str], at: datetime, why: str, new_id: Callable[[], str]
) -> list[Ban]:
    """End new bans; those that they replaced stand again, with ids of their own, and are returned.

    Whoever is replaced ends at the moment that the new ban was made. A new ban that others have ended or replaced by
    now leaves its place to them.
    """
    new, ours = set(ids), dict[Key, int]()
    for some in in_parts(ids, ROWS_AT_ONCE):
        marks = ", ".join("?" * len(some))
        rows = db.execute(f"SELECT {_KEY}, created_at FROM ban WHERE ended_at IS NULL AND id IN ({marks})", some)  # noqa: S608  # marks
        ours.update((row[:_KEYS], row[_KEYS]) for row in rows)
    end_bans(db, ids, at, why)
    gone: dict[Key, Ban] = {}
    for ended in set(ours.values()):
        for row in db.execute(_REPLACED, {"ended": ended, "now": to_us(at)}):
            key, ban = row[:_KEYS], row[_KEYS:]
            if ours.get(key) == ended and ban[0] not in new:
                gone[key] = ban_of(ban)
    again = [replace(ban, id=new_id()) for ban in gone.values()]
    add_bans(db, Addition.of(again))
    return again
