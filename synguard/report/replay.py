"""What a replay came to, for people and for scripts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from synguard.addresses import format_network
from synguard.incidents import Incident
from synguard.jsonable import fields_of
from synguard.model import Ban, Evidence
from synguard.output.tables import Column, print_lines, print_table, printable
from synguard.plain import count
from synguard.policy.models import Policy
from synguard.recording.heads import FileHead
from synguard.replay.replay_result import Close, Flood, ReplayResult, Spared
from synguard.report.shapes import moment
from synguard.units import format_duration, format_ports

SHOWN: Final = 20
"""Rows of each table for people; JSON has up to a thousand."""
SHOWN_PER_LIST: Final = 1000
CLOSE: Final = 10.0
"""Scores below this are not close, and for scripts only."""

CANNOT_KNOW: Final = (
    "What this cannot know: the traffic was recorded as it came. It does not react to bans that differ from those of "
    "the recording: a banned source would have filled no queue, and an attacker might have turned elsewhere."
)
UNDER_BANS: Final = (
    "The recording was made while enforcing: what its own bans stopped is missing from sockets and connections."
)


def replay_shape(result: ReplayResult, head: FileHead, policies: Sequence[Policy], whole: bool) -> dict[str, Any]:
    """Return a replay as JSON; the same recording, policies and seed give the same bytes."""
    return {
        "recording": {
            "started_at": moment(result.started_at),
            "ended_at": moment(result.ended_at),
            "seconds": round(result.seconds, 3),
            "ticks": result.ticks,
            "mode": head.mode,
            "whole": whole,
            "rows_not_recorded": result.lost_rows,
            "failed_ticks": dict(sorted(result.failures.items())),
        },
        "policies": [policy.name for policy in policies],
        "banned": result.banned,
        "bans": [_ban_shape(ban, result) for ban in result.bans[:SHOWN_PER_LIST]],
        "spared": [_spared_shape(one, result) for one in result.spared[:SHOWN_PER_LIST]],
        "floods": [_flood_shape(one, result) for one in result.floods[:SHOWN_PER_LIST]],
        "incidents": [_incident_shape(one, result) for one in result.finished_incidents()[:SHOWN_PER_LIST]],
        "close": [_close_shape(one, result) for one in result.close[:SHOWN_PER_LIST]],
        "not_banned": dict(sorted(result.refusals.items())),
        "ticks_without_samples": result.blind_ticks,
        "notes": list(notes(result, head, whole)),
    }


def notes(result: ReplayResult, head: FileHead, whole: bool) -> Iterator[str]:
    """Yield what is to be known before the figures are believed; the last holds for every replay."""
    if not whole:
        yield "The recording ends in the midst of a record, as when its agent was killed; all before that was replayed."
    if result.lost_rows:
        yield f"{result.lost_rows:,} rows were too many to record: true counts were higher."
    for sensor, ticks in sorted(result.failures.items()):
        yield f"The sensor {sensor} failed in {ticks:,} of {result.ticks:,} recorded ticks."
    if result.blind_ticks:
        yield (
            f"In {result.blind_ticks:,} ticks these policies would have sampled SYNs and the recording has none: "
            "SYN rates were not judged there."
        )
    if head.mode == "enforce":
        yield UNDER_BANS
    yield CANNOT_KNOW


def headline(result: ReplayResult, policies: Sequence[Policy]) -> str:
    """Return the first line: what was replayed by what, and the count of bans."""
    names = ", ".join(policy.name for policy in policies)
    began = f"{result.started_at:%Y-%m-%d %H:%M:%S} UTC" if result.started_at else "nothing"
    return (
        f"{format_duration(result.seconds)} from {began} ({result.ticks:,} ticks), policies {names}: "
        f"{count(result.banned, 'ban')}, {len(result.spared):,} spared, "
        f"{count(len(result.incidents), 'incident')}"
    )


def print_replay(result: ReplayResult, head: FileHead, policies: Sequence[Policy], whole: bool) -> None:
    """Print a replay for people."""
    print(printable(headline(result, policies)))
    when = Column("after", align="right")
    target, limit = Column("target"), Column("seen / limit", fold=True)
    policy = Column("policy", spare=1)
    tables: tuple[tuple[str, list[Column], list[list[str]]], ...] = (
        ("Incidents", [when, Column("lasted"), Column("kind"), Column("peak", fold=True)],
         [_incident_row(one, result) for one in result.finished_incidents()]),
        ("Floods as a whole", [when, Column("verdict", fold=True)],
         [[_after(one.first_at, result), one.text] for one in result.floods]),
        ("Would have been banned", [when, target, Column("scope"), Column("for"), policy, limit],
         [_ban_row(ban, result) for ban in result.bans]),
        ("Spared", [when, target, policy, limit, Column("because", fold=True)],
         [_spared_row(one, result) for one in result.spared]),
        ("Came close (100 acts)", [when, target, Column("score", align="right"), policy, limit],
         [_close_row(one, result) for one in result.close if one.score >= CLOSE]),
        ("Over their limit, yet not banned", [Column("ticks", align="right"), Column("because", fold=True)],
         [[f"{ticks:,}", why] for why, ticks in sorted(result.refusals.items(), key=lambda item: -item[1])]),
    )  # fmt: skip
    for title, columns, rows in tables:
        if rows:
            print(f"\n{title}:" if len(rows) <= SHOWN else f"\n{title} (first {SHOWN} of {len(rows):,}; --json):")
            print_table(columns, rows[:SHOWN])
    print()
    print_lines(notes(result, head, whole))


def seen(evidence: Sequence[Evidence]) -> str:
    """Return evidence against its limits, ``half_open 312 / 64``."""
    return " and ".join(str(item) for item in evidence)


def _ban_row(ban: Ban, result: ReplayResult) -> list[str]:
    lasts = format_duration((ban.expires_at - ban.created_at).total_seconds()) if ban.expires_at else "ever"
    scope = f"{ban.scope} to {format_ports(ban.ports)}" if ban.ports else str(ban.scope)
    return [_after(ban.created_at, result), format_network(ban.target), scope, lasts, ban.policy, seen(ban.evidence)]


def _spared_row(one: Spared, result: ReplayResult) -> list[str]:
    return [_after(one.first_at, result), format_network(one.target), one.policy, seen(one.evidence), one.reason]


def _close_row(one: Close, result: ReplayResult) -> list[str]:
    where = format_network(one.target)
    return [_after(one.at, result), where, f"{one.score:.0f}", one.policy, str(one.evidence)]


def _incident_row(one: Incident, result: ReplayResult) -> list[str]:
    ended = one.ended_at
    lasted = format_duration((ended - one.started_at).total_seconds()) if ended else "to the end"
    peak = f"{one.peak_half_open:,} half-open, {one.peak_syn_pps:,.0f} SYN/s, {one.peak_connections:,} connections"
    return [_after(one.started_at, result), lasted, one.kind, peak]


def _ban_shape(ban: Ban, result: ReplayResult) -> dict[str, Any]:
    return {
        "target": format_network(ban.target),
        "after_s": _seconds(ban.created_at, result),
        **fields_of(ban, "scope action ports policy reason times"),
        "score": round(ban.score, 1),
        "lasts_s": round((ban.expires_at - ban.created_at).total_seconds(), 3) if ban.expires_at else None,
        "evidence": [_evidence_shape(item) for item in ban.evidence],
    }


def _spared_shape(one: Spared, result: ReplayResult) -> dict[str, Any]:
    return {
        "target": format_network(one.target),
        **_span(one.first_at, one.last_at, result),
        **fields_of(one, "policy reason"),
        "score": round(one.score, 1),
        "evidence": [_evidence_shape(item) for item in one.evidence],
    }


def _flood_shape(one: Flood, result: ReplayResult) -> dict[str, Any]:
    return {"kind": one.kind, **_span(one.first_at, one.last_at, result), "verdict": one.text}


def _incident_shape(one: Incident, result: ReplayResult) -> dict[str, Any]:
    return {
        "kind": one.kind,
        **_span(one.started_at, one.ended_at, result),
        "peak_syn_pps": round(one.peak_syn_pps, 1),
        **fields_of(one, "peak_half_open peak_connections sources bans spared note"),
    }


def _close_shape(one: Close, result: ReplayResult) -> dict[str, Any]:
    return {
        "target": format_network(one.target),
        "after_s": _seconds(one.at, result),
        "policy": one.policy,
        "score": round(one.score, 1),
        **_evidence_shape(one.evidence),
    }


def _evidence_shape(item: Evidence) -> dict[str, Any]:
    return fields_of(item, "signal limit sources") | {"value": round(item.value, 3)}


def _span(first: datetime, last: datetime | None, result: ReplayResult) -> dict[str, float | None]:
    return {"after_s": _seconds(first, result), "until_s": None if last is None else _seconds(last, result)}


def _seconds(utc: datetime, result: ReplayResult) -> float:
    return round((utc - (result.started_at or utc)).total_seconds(), 3)


def _after(utc: datetime, result: ReplayResult) -> str:
    """Return the time since the recording began, ``+0:10:00.2``."""
    minutes, seconds = divmod(_seconds(utc, result), 60)
    return f"+{minutes // 60:.0f}:{minutes % 60:02.0f}:{seconds:04.1f}"
