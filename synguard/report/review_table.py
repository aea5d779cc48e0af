"""Bans under review as rows, sentences and JSON, each with what is suggested."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from synguard.addresses import format_network
from synguard.output.tables import Column, print_table
from synguard.output.times import ago, clock_time, left
from synguard.plain import count
from synguard.report.advice import Advice, AdvisedStep, Reviewed
from synguard.report.ban_table import by, state
from synguard.report.review import Candidate
from synguard.report.shapes import record_shape

_COLUMNS: Final = (
    Column("TARGET"),
    Column("STATE", spare=2),
    Column("SCOPE", spare=3),
    Column("BY", spare=3),
    Column("EXPIRES", "right", spare=9),
    Column("LEFT", "right"),
    Column("HITTING", spare=1),
    Column("PACKETS", "right", spare=4),
    Column("LAST SEEN", "right", spare=5),
    Column("TIMES", "right", spare=6),
    Column("SUGGESTED"),
    Column("ID", spare=1),
    Column("WHY", spare=1, fold=True),
)


def candidate_shape(one: Candidate, advice: Advice, now: datetime) -> dict[str, Any]:
    """Return a candidate as JSON: the ban, what is known of its target, and what is suggested."""
    return record_shape(one.record, now) | {
        "still_hitting": one.hitting,
        "quiet_s": round(one.quiet_s, 1),
        "times_banned": one.times,
        "half_open": one.half_open,
        "evidence_now": one.evidence,
        "suggestion": advice.step.value,
        "suggestion_reason": advice.reason,
        "extend_by_s": advice.by_s if advice.step is AdvisedStep.EXTEND else None,
    }


def print_candidates(found: Iterable[Reviewed], now: datetime) -> None:
    """Print candidates, one a row."""
    print_table(_COLUMNS, [_row(one, advice, now) for one, advice in found])


def candidate_line(one: Candidate, now: datetime) -> str:
    """Return one candidate as a sentence, for a question about it."""
    ban = one.record.ban
    again = f", banned {one.times} times" if one.times > 1 else ""
    ends = "is permanent" if ban.expires_at is None else f"ends in {left(ban.left(now))}"
    what = f"{format_network(ban.target)} ({ban.scope}, by {by(ban)})"
    return f"{what} {ends}: {count(one.record.packets, 'packet')} stopped{again}"


def _row(one: Candidate, advice: Advice, now: datetime) -> list[str]:
    ban = one.record.ban
    return [
        format_network(ban.target),
        state(one.record, now),
        str(ban.scope),
        by(ban),
        "never" if ban.expires_at is None else clock_time(ban.expires_at, now),
        left(ban.left(now)),
        "yes" if one.hitting else "quiet",
        "-" if ban.dry_run else f"{one.record.packets:,}",
        ago(one.record.last_hit_at, now),
        str(one.times),
        advice.what,
        ban.id,
        advice.reason,
    ]
