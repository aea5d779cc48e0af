"""Bans that were ended before their time and would still stand: who followed them elsewhere must hear of it."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from synguard.ledger.records import BanRecord
from synguard.ledger.rows import BAN_READ, ban_record, to_us
from synguard.model import Origin

MOST: int = 10_000
"""Rows that are returned, the latest."""


def ended_early(
    db: sqlite3.Connection, origin: Origin, since: datetime, now: datetime, but: str = ""
) -> list[BanRecord]:
    """Return bans of one origin that were ended at ``since`` or later and would stand at ``now``, latest first.

    Bans that another one replaced, and those that were ended for the reason ``but``, are not among them.
    """
    rows = db.execute(
        f"SELECT {BAN_READ} FROM ban WHERE ended_at >= ? AND expires_at > ? AND origin = ? "  # noqa: S608  # constants only
        "AND ended_why NOT IN ('replaced', 'expired', ?) AND ended_at > created_at ORDER BY ended_at DESC LIMIT ?",
        (to_us(since), to_us(now), origin.value, but, MOST),
    )
    return [ban_record(row) for row in rows]
