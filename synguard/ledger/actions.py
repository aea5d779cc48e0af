"""The action table: one sentence for each thing that synguard or a person did."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from synguard.ledger.records import ActionRecord
from synguard.ledger.rows import from_us, to_us


def record_action(db: sqlite3.Connection, at: datetime, kind: str, text: str) -> None:
    """Keep one sentence."""
    db.execute("INSERT INTO action (at, kind, text) VALUES (?, ?, ?)", (to_us(at), kind, text))


def actions_since(db: sqlite3.Connection, since: datetime, limit: int) -> list[ActionRecord]:
    """Return actions at ``since`` or later, latest first."""
    rows = db.execute(
        "SELECT at, kind, text FROM action WHERE at >= ? ORDER BY seq DESC LIMIT ?", (to_us(since), limit)
    )
    return [ActionRecord(from_us(at), kind, text) for at, kind, text in rows]
