"""Bans as a table for people."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from synguard.addresses import format_network
from synguard.ledger.records import BanRecord
from synguard.model import Ban, Origin, Verdict
from synguard.output.tables import Column, print_table
from synguard.output.times import ago, clock_time, left
from synguard.plain import count
from synguard.units import evidence_clause

_COLUMNS: Final = (
    Column("TARGET"),
    Column("STATE", spare=4),
    Column("SCOPE", spare=1),
    Column("ACTION", spare=5),
    Column("BY", spare=3),
    Column("SCORE", "right", spare=9),
    Column("CREATED", "right", spare=8),
    Column("EXPIRES", "right", spare=6),
    Column("LEFT", "right"),
    Column("PACKETS", "right", spare=2),
    Column("LAST HIT", "right", spare=7),
    Column("ID", spare=1),
    Column("REASON", fold=True),
)


def print_bans(records: Iterable[BanRecord], now: datetime, absent: Collection[str] = ()) -> None:
    """Print bans, one a row; a terminal that is narrow shows less of each.

    ``absent`` are ids of active bans that the kernel does not hold.
    """
    rows = [_row(record, now, absent) for record in records]
    usual = all(row[1] in ("banned", "challenged") for row in rows)
    columns = [replace(one, spare=0) if one.title == "STATE" and not usual else one for one in _COLUMNS]
    print_table(columns, rows)


def _row(record: BanRecord, now: datetime, absent: Collection[str]) -> list[str]:
    ban = record.ban
    return [
        format_network(ban.target),
        "NOT IN KERNEL" if ban.id in absent else state(record, now),
        f"{ban.scope}:{','.join(map(str, ban.ports))}" if ban.ports else str(ban.scope),
        ban.effect,
        by(ban),
        f"{ban.score:.0f}" if ban.score else "-",
        clock_time(ban.created_at, now),
        "never" if ban.expires_at is None else clock_time(ban.expires_at, now),
        left(ban.left(now)) if record.stands(now) else "-",
        "-" if ban.dry_run else f"{record.packets:,}",
        "-" if record.last_hit_at is None else clock_time(record.last_hit_at, now),
        ban.id,
        ban.reason,
    ]


def by(ban: Ban) -> str:
    """Return who banned: ``hand``, or the policy."""
    return "hand" if ban.origin is Origin.MANUAL else ban.policy


def tells_evidence(judged: Ban | Verdict) -> bool:
    """Return whether the reason begins with the evidence, so that this need not be repeated."""
    return not judged.evidence or judged.reason.startswith(evidence_clause(judged.evidence, ()))


def counted(record: BanRecord, now: datetime) -> str:
    """Return what the kernel counted against it: ``12 packets, last 2m ago``; a dry run has nothing to count."""
    if record.ban.dry_run:
        return "nothing counted in a dry run"
    last = f", last {ago(record.last_hit_at, now)}" if record.last_hit_at else ""
    if record.ban.action.challenges:
        return f"{challenged(record.answered, record.passed, record.dropped)}{last}"
    return f"{count(record.packets, 'packet')}{last}"


def challenged(answered: int, passed: int, dropped: int) -> str:
    """Return what became of the SYNs of a challenged target; only one that is limited has any dropped."""
    beyond = f", {dropped:,} dropped" if dropped else ""
    return f"{count(answered, 'SYN')} answered, {passed:,} passed{beyond}"


def state(record: BanRecord, now: datetime) -> str:
    """Return how its target fares while it stands, or how it ended."""
    if record.stands(now):
        return record.ban.standing
    return record.ended_why or "expired"
