"""Bounded growth: old records go by age, then the oldest beyond the allowed number; active bans never."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from synguard.ledger.rows import to_us
from synguard.policy.models import LedgerLimits

_AT_ONCE: Final = 10_000
"""Rows a table gives up in one call: some 50 ms during which no one else can write."""


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    age: str
    """SQL for the moment a record's age counts from; NULL where it may not go by age."""
    free: str = "1"
    """SQL for whether a record may go at ``:now``."""


_TABLES: Final = (
    _Table(
        "ban",
        age="coalesce(ended_at, expires_at)",
        free="(ended_at IS NOT NULL OR expires_at <= :now)",
    ),
    _Table("verdict", age="last_at"),
    _Table("incident", age="coalesce(ended_at, started_at)"),
    _Table("action", age="at"),
    _Table("history", age="at"),
    _Table("touched", age="last_at"),
)


def prune(db: sqlite3.Connection, limits: LedgerLimits, now: datetime) -> int:
    """Delete what is too old or too much, a bounded piece a call; return how many rows went, 0 when done."""
    values = {"now": to_us(now), "before": to_us(now - timedelta(seconds=limits.keep)), "most": _AT_ONCE}
    return sum(_by_age(db, table, values) + _by_number(db, table, values, limits.rows) for table in _TABLES)


def _by_age(db: sqlite3.Connection, table: _Table, values: dict[str, int]) -> int:
    return db.execute(
        f"DELETE FROM {table.name} WHERE seq IN (SELECT seq FROM {table.name} "  # noqa: S608  # constants only
        f"WHERE {table.free} AND {table.age} < :before ORDER BY seq LIMIT :most)",
        values,
    ).rowcount


def _by_number(db: sqlite3.Connection, table: _Table, values: dict[str, int], rows: int) -> int:
    # By order of writing, not by time of day: a clock set wrong for an hour must not decide what is oldest.
    there = int(db.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0])  # noqa: S608  # constants only
    if there <= rows:
        return 0
    return db.execute(
        f"DELETE FROM {table.name} WHERE seq IN (SELECT seq FROM {table.name} "  # noqa: S608  # constants only
        f"WHERE {table.free} ORDER BY seq LIMIT :most)",
        {**values, "most": min(there - rows, _AT_ONCE)},
    ).rowcount
