"""An order that failed, undone: what it replaced stands again, and what others did meanwhile stays."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from synguard.ledger.bans import Key, end_bans
from synguard.ledger.rows import BAN_COLUMNS, ROWS_AT_ONCE, to_us
from synguard.memory import in_parts

_KEY: Final = "target, scope, ports, dry_run, header"
_REPLACED: Final = (
    f"SELECT {_KEY}, id, seq FROM ban WHERE ended_why = 'replaced' AND ended_at = :ended "  # noqa: S608  # constants
    "AND (expires_at IS NULL OR expires_at > :now) ORDER BY seq"
)
_KEYS: Final = 5
_KEPT: Final = BAN_COLUMNS.removeprefix("id, ").removesuffix(", ended_at, ended_why")
_AGAIN: Final = f"INSERT INTO ban (id, {_KEPT}) SELECT ?, {_KEPT} FROM ban WHERE seq = ?"  # noqa: S608  # constants only


def undo(db: sqlite3.Connection, ids: Sequence[str], at: datetime, why: str, new_id: Callable[[], str]) -> list[str]:
    """End new bans; those that they replaced stand again, with ids of their own, which are returned.

    Whoever is replaced ends at the moment that the new ban was made. A new ban that others have ended or replaced by
    now leaves its place to them.
    """
    new, ours = set(ids), dict[Key, int]()
    for some in in_parts(ids, ROWS_AT_ONCE):
        marks = ", ".join("?" * len(some))
        rows = db.execute(f"SELECT {_KEY}, created_at FROM ban WHERE ended_at IS NULL AND id IN ({marks})", some)  # noqa: S608  # marks
        ours.update((row[:_KEYS], row[_KEYS]) for row in rows)
    end_bans(db, ids, at, why)
    gone: dict[Key, int] = {}
    for ended in set(ours.values()):
        for *key, id_, seq in db.execute(_REPLACED, {"ended": ended, "now": to_us(at)}):
            if ours.get(tuple(key)) == ended and id_ not in new:
                gone[tuple(key)] = seq
    again = sorted(new_id() for _ in gone)  # upwards, as in a list: the index of ids grows at its end
    db.executemany(_AGAIN, zip(again, gone.values(), strict=True))
    return again
