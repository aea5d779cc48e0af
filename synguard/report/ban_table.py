"""Bans as a table for people."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final

from synguard.addresses import format_network
from synguard.ledger.records import BanRecord
from synguard.model import Origin
from synguard.output.tables import Column, print_table
from synguard.output.times import ago, clock_time, left

_COLUMNS: Final = (
    Column("TARGET"),
    Column("STATE", spare=1),
    Column("SCOPE"),
    Column("ACTION", spare=2),
    Column("BY", spare=1),
    Column("SCORE", "right", spare=5),
    Column("CREATED", "right", spare=4),
    Column("EXPIRES", "right", spare=3),
    Column("LEFT", "right"),
    Column("PACKETS", "right"),
    Column("LAST HIT", "right", spare=3),
    Column("ID", spare=6),
    Column("REASON", spare=7, fold=True),
)


def print_bans(records: Iterable[BanRecord], now: datetime, absent: Collection[str] = ()) -> None:
    """Print bans, one a row; a terminal that is narrow shows less of each.

    ``absent`` are ids of standing bans that the kernel does not hold.
    """
    print_table(_COLUMNS, [_row(record, now, absent) for record in records])


def _row(record: BanRecord, now: datetime, absent: Collection[str]) -> list[str]:
    ban = record.ban
    return [
        format_network(ban.target),
        "NOT IN KERNEL" if ban.id in absent else state(record, now),
        f"{ban.scope}:{','.join(map(str, ban.ports))}" if ban.ports else str(ban.scope),
        ban.effect,
        "hand" if ban.origin is Origin.MANUAL else ban.policy,
        f"{ban.score:.0f}" if ban.score else "-",
        clock_time(ban.created_at, now),
        "never" if ban.expires_at is None else clock_time(ban.expires_at, now),
        left(ban.left(now)) if record.stands(now) else "-",
        "-" if ban.dry_run else str(record.packets),
        "-" if record.last_hit_at is None else clock_time(record.last_hit_at, now),
        ban.id,
        ban.reason,
    ]


def counted(record: BanRecord, now: datetime) -> str:
    """Return what the kernel counted against it: ``12 packets, last 2m ago``; a dry run has nothing to count."""
    if record.ban.dry_run:
        return "nothing counted in a dry run"
    last = f", last {ago(record.last_hit_at, now)}" if record.last_hit_at else ""
    if record.ban.action.challenges:
        return f"{challenged(record.answered, record.passed, record.dropped)}{last}"
    return f"{record.packets} packets{last}"


def challenged(answered: int, passed: int, dropped: int) -> str:
    """Return what became of the SYNs of a challenged target; only one that is limited has any dropped."""
    beyond = f", {dropped} dropped" if dropped else ""
    return f"{answered} SYNs answered, {passed} passed{beyond}"


def state(record: BanRecord, now: datetime) -> str:
    """Return how its target fares while it stands, or how it ended."""
    if record.stands(now):
        return record.ban.standing
    return record.ended_why or "expired"
