"""The touched table: which clients a dry run's bans would have turned away."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from synguard.ledger.records import FalsePositives
from synguard.ledger.rows import from_us, to_us

_RECORD: Final = """
    INSERT INTO touched (ban, clients, examples, last_at) VALUES (?, ?, ?, ?)
    ON CONFLICT (ban) DO UPDATE SET clients = max(clients, excluded.clients), last_at = excluded.last_at,
        examples = CASE WHEN excluded.clients >= clients THEN excluded.examples ELSE examples END"""
_SINCE: Final = (
    "SELECT ban, clients, examples, last_at FROM touched WHERE last_at >= ? ORDER BY clients DESC LIMIT 20000"
)


def record(db: sqlite3.Connection, seen: Sequence[FalsePositives]) -> None:
    """Write down what is known of each ban now; the most clients there were stay."""
    db.executemany(_RECORD, [(one.ban_id, one.clients, " ".join(one.examples), to_us(one.last_at)) for one in seen])


def since(db: sqlite3.Connection, at: datetime) -> list[FalsePositives]:
    """Return the bans that touched somebody at ``at`` or later, the most clients first."""
    return [
        FalsePositives(ban, clients, tuple(examples.split()), from_us(last_at))
        for ban, clients, examples, last_at in db.execute(_SINCE, (to_us(at),))
    ]
