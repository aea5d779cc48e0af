"""Which bans end soon, and whether their targets still hit: what ``review`` weighs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from synguard.addresses import format_network
from synguard.ledger.records import BanRecord
from synguard.model import Hits
from synguard.report.moments import ago, clock_time, left
from synguard.report.shapes import record_shape
from synguard.report.tables import Column, print_table

HITTING_S: Final = 60.0
"""A target whose last stopped packet is younger still hits; SYN retries of one client alone are 63 s apart at most."""

_COLUMNS: Final = (
    Column("TARGET"),
    Column("SCOPE", spare=2),
    Column("BY", spare=1),
    Column("EXPIRES", "right", spare=3),
    Column("LEFT", "right"),
    Column("HITTING"),
    Column("PACKETS", "right"),
    Column("LAST SEEN", "right"),
    Column("TIMES", "right", spare=4),
    Column("ID", spare=5),
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One ban under review."""

    record: BanRecord
    hitting: bool
    """Whether its target still sends packets that the ban stops."""
    quiet_s: float
    """Seconds since the last stopped packet, or since the ban began where there was none."""
    times: int
    """How often the target has been banned, this time included."""


def candidates(
    records: Iterable[BanRecord],
    now: datetime,
    within_s: float | None,
    grown: frozenset[str],
    offences: Mapping[str, int],
) -> list[Candidate]:
    """Return the real bans that end within ``within_s`` seconds, soonest first; None takes all that stand.

    ``grown`` are ids whose counts grew between two reads just now; ``offences`` is target → times banned.
    """
    latest = None if within_s is None else now + timedelta(seconds=within_s)
    due = [
        record
        for record in records
        if record.stands(now)
        and not record.ban.dry_run
        and (latest is None or (record.ban.expires_at is not None and record.ban.expires_at <= latest))
    ]
    far = datetime.max.replace(tzinfo=now.tzinfo)
    return [
        Candidate(
            record=record,
            hitting=record.ban.id in grown or (record.last_hit_at is not None and _quiet_s(record, now) < HITTING_S),
            quiet_s=_quiet_s(record, now),
            times=max(record.ban.times, offences.get(format_network(record.ban.target), 1)),
        )
        for record in sorted(due, key=lambda record: (record.ban.expires_at or far, record.ban.id))
    ]


def grown_between(before: Mapping[str, Hits], after: Mapping[str, Hits]) -> frozenset[str]:
    """Return the ids that stopped more packets in the second read than in the first."""
    return frozenset(id_ for id_, hits in after.items() if id_ in before and hits.packets > before[id_].packets)


def candidate_shape(one: Candidate, now: datetime) -> dict[str, Any]:
    """Return a candidate as JSON: the ban and what is known of its target."""
    return record_shape(one.record, now) | {
        "still_hitting": one.hitting,
        "quiet_s": round(one.quiet_s, 1),
        "times_banned": one.times,
    }


def print_candidates(found: Iterable[Candidate], now: datetime) -> None:
    """Print candidates, one a row."""
    print_table(_COLUMNS, [_row(one, now) for one in found])


def candidate_line(one: Candidate, now: datetime) -> str:
    """Return one candidate as a sentence, for a question about it."""
    ban = one.record.ban
    what = "still hitting" if one.hitting else f"last seen {ago(one.record.last_hit_at, now)}"
    again = f", banned {one.times} times" if one.times > 1 else ""
    ends = "is permanent" if ban.expires_at is None else f"ends in {left(ban.left(now))}"
    return f"{format_network(ban.target)} ({ban.policy}) {ends}: {what}, {one.record.packets} packets{again}"


def _row(one: Candidate, now: datetime) -> list[str]:
    ban = one.record.ban
    return [
        format_network(ban.target),
        str(ban.scope),
        ban.policy,
        "never" if ban.expires_at is None else clock_time(ban.expires_at, now),
        left(ban.left(now)),
        "yes" if one.hitting else "quiet",
        str(one.record.packets),
        ago(one.record.last_hit_at, now),
        str(one.times),
        ban.id,
    ]


def _quiet_s(record: BanRecord, now: datetime) -> float:
    return max((now - (record.last_hit_at or record.ban.created_at)).total_seconds(), 0.0)
