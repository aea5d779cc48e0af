"""What a replay came to, for people and for scripts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from synguard.addresses import format_network
from synguard.clock import rfc3339
from synguard.model import Ban, Evidence, Incident
from synguard.policy.models import Policy
from synguard.recording.heads import FileHead
from synguard.replay.story import Close, Flood, Spared, Story
from synguard.units import format_duration, format_ports

SHOWN: Final = 20
"""Rows of each table for people; JSON has up to a thousand."""
TOLD: Final = 1000
CLOSE: Final = 10.0
"""Scores below this are not close, and for scripts only."""

CANNOT_KNOW: Final = (
    "What this cannot know: the traffic was recorded as it came. It does not react to bans that differ from those of "
    "the recording: a banned source would have filled no queue, and an attacker might have turned elsewhere."
)
UNDER_BANS: Final = (
    "The recording was made while enforcing: what its own bans stopped is missing from sockets and connections."
)


def replay_shape(story: Story, head: FileHead, policies: Sequence[Policy], whole: bool) -> dict[str, Any]:
    """Return a replay as JSON; the same recording, policies and seed give the same bytes."""
    return {
        "recording": {
            "started_at": _moment(story.started_at),
            "ended_at": _moment(story.ended_at),
            "seconds": round(story.seconds, 3),
            "ticks": story.ticks,
            "mode": head.mode,
            "whole": whole,
            "rows_not_recorded": story.lost_rows,
            "failed_ticks": dict(sorted(story.failures.items())),
        },
        "policies": [policy.name for policy in policies],
        "banned": story.banned,
        "bans": [_ban_shape(ban, story) for ban in story.bans[:TOLD]],
        "spared": [_spared_shape(one, story) for one in story.spared[:TOLD]],
        "floods": [_flood_shape(one, story) for one in story.floods[:TOLD]],
        "incidents": [_incident_shape(one, story) for one in story.finished_incidents()[:TOLD]],
        "close": [_close_shape(one, story) for one in story.close[:TOLD]],
        "not_banned": dict(sorted(story.refusals.items())),
        "ticks_without_samples": story.blind_ticks,
        "notes": list(notes(story, head, whole)),
    }


def notes(story: Story, head: FileHead, whole: bool) -> Iterator[str]:
    """Yield what is to be known before the figures are believed; the last holds for every replay."""
    if not whole:
        yield "The recording ends in the midst of a record, as when its agent was killed; all before that was replayed."
    if story.lost_rows:
        yield f"{story.lost_rows:,} rows were too many to record: true counts were higher."
    for sensor, ticks in sorted(story.failures.items()):
        yield f"The sensor {sensor} failed in {ticks:,} of {story.ticks:,} recorded ticks."
    if story.blind_ticks:
        yield (
            f"In {story.blind_ticks:,} ticks these policies would have sampled SYNs and the recording has none: "
            "SYN rates were not judged there."
        )
    if head.mode == "enforce":
        yield UNDER_BANS
    yield CANNOT_KNOW


def headline(story: Story, policies: Sequence[Policy]) -> str:
    """Return the first line: what was replayed by what, and the count of bans."""
    names = ", ".join(policy.name for policy in policies)
    began = f"{story.started_at:%Y-%m-%d %H:%M:%S} UTC" if story.started_at else "nothing"
    return (
        f"{format_duration(story.seconds)} from {began} ({story.ticks:,} ticks), policies {names}: "
        f"{_counted(story.banned, 'ban')}, {len(story.spared):,} spared, {_counted(len(story.incidents), 'incident')}"
    )


def print_replay(story: Story, head: FileHead, policies: Sequence[Policy], whole: bool) -> None:
    """Print a replay for people."""
    from synguard.report.tables import Column, print_table, printable

    print(printable(headline(story, policies)))
    when = Column("after", align="right")
    target, limit = Column("target"), Column("seen / limit", fold=True)
    policy = Column("policy", spare=1)
    tables: tuple[tuple[str, list[Column], list[list[str]]], ...] = (
        ("Incidents", [when, Column("lasted"), Column("kind"), Column("peak", fold=True)],
         [_incident_row(one, story) for one in story.finished_incidents()]),
        ("Floods as a whole", [when, Column("verdict", fold=True)],
         [[_after(one.first_at, story), one.text] for one in story.floods]),
        ("Would have been banned", [when, target, Column("scope"), Column("for"), policy, limit],
         [_ban_row(ban, story) for ban in story.bans]),
        ("Spared", [when, target, policy, limit, Column("because", fold=True)],
         [_spared_row(one, story) for one in story.spared]),
        ("Came close (100 acts)", [when, target, Column("score", align="right"), policy, limit],
         [_close_row(one, story) for one in story.close if one.score >= CLOSE]),
        ("Condemned, yet not banned", [Column("ticks", align="right"), Column("because", fold=True)],
         [[f"{ticks:,}", why] for why, ticks in sorted(story.refusals.items(), key=lambda item: -item[1])]),
    )  # fmt: skip
    for title, columns, rows in tables:
        if rows:
            print(f"\n{title}:" if len(rows) <= SHOWN else f"\n{title} (first {SHOWN} of {len(rows):,}; --json):")
            print_table(columns, rows[:SHOWN])
    print()
    for note in notes(story, head, whole):
        print(printable(note))


def seen(evidence: Sequence[Evidence]) -> str:
    """Return evidence against its limits, ``half_open 312 / 64``."""
    return " and ".join(str(item) for item in evidence)


def _ban_row(ban: Ban, story: Story) -> list[str]:
    lasts = format_duration((ban.expires_at - ban.created_at).total_seconds()) if ban.expires_at else "ever"
    scope = f"{ban.scope} to {format_ports(ban.ports)}" if ban.ports else str(ban.scope)
    return [_after(ban.created_at, story), format_network(ban.target), scope, lasts, ban.policy, seen(ban.evidence)]


def _spared_row(one: Spared, story: Story) -> list[str]:
    return [_after(one.first_at, story), format_network(one.target), one.policy, seen(one.evidence), one.reason]


def _close_row(one: Close, story: Story) -> list[str]:
    return [
        _after(one.at, story), format_network(one.target), f"{one.score:.0f}", one.policy, str(one.evidence)
    ]  # fmt: skip


def _incident_row(one: Incident, story: Story) -> list[str]:
    ended = one.ended_at
    lasted = format_duration((ended - one.started_at).total_seconds()) if ended else "to the end"
    peak = f"{one.peak_half_open:,} half-open, {one.peak_syn_pps:,.0f} SYN/s, {one.peak_connections:,} connections"
    return [_after(one.started_at, story), lasted, one.kind, peak]


def _ban_shape(ban: Ban, story: Story) -> dict[str, Any]:
    return {
        "target": format_network(ban.target),
        "after_s": _seconds(ban.created_at, story),
        "scope": ban.scope,
        "action": ban.action,
        "ports": list(ban.ports),
        "policy": ban.policy,
        "reason": ban.reason,
        "score": round(ban.score, 1),
        "times": ban.times,
        "lasts_s": round((ban.expires_at - ban.created_at).total_seconds(), 3) if ban.expires_at else None,
        "evidence": [_evidence_shape(item) for item in ban.evidence],
    }


def _spared_shape(one: Spared, story: Story) -> dict[str, Any]:
    return {
        "target": format_network(one.target),
        "after_s": _seconds(one.first_at, story),
        "until_s": _seconds(one.last_at, story),
        "policy": one.policy,
        "reason": one.reason,
        "score": round(one.score, 1),
        "evidence": [_evidence_shape(item) for item in one.evidence],
    }


def _flood_shape(one: Flood, story: Story) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "after_s": _seconds(one.first_at, story),
        "until_s": _seconds(one.last_at, story),
        "verdict": one.text,
    }


def _incident_shape(one: Incident, story: Story) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "after_s": _seconds(one.started_at, story),
        "until_s": None if one.ended_at is None else _seconds(one.ended_at, story),
        "peak_half_open": one.peak_half_open,
        "peak_syn_pps": round(one.peak_syn_pps, 1),
        "peak_connections": one.peak_connections,
        "sources": one.sources,
        "bans": one.bans,
        "spared": one.spared,
        "note": one.note,
    }


def _close_shape(one: Close, story: Story) -> dict[str, Any]:
    return {
        "target": format_network(one.target),
        "after_s": _seconds(one.at, story),
        "policy": one.policy,
        "score": round(one.score, 1),
        **_evidence_shape(one.evidence),
    }


def _evidence_shape(item: Evidence) -> dict[str, Any]:
    return {
        "signal": item.signal,
        "value": round(item.value, 3),
        "limit": item.limit,
        "sources": item.sources,
    }


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"


def _moment(utc: datetime | None) -> str | None:
    return None if utc is None else rfc3339(utc)


def _seconds(utc: datetime, story: Story) -> float:
    return round((utc - (story.started_at or utc)).total_seconds(), 3)


def _after(utc: datetime, story: Story) -> str:
    """Return the time since the recording began, ``+0:10:00.2``."""
    minutes, seconds = divmod(_seconds(utc, story), 60)
    return f"+{minutes // 60:.0f}:{minutes % 60:02.0f}:{seconds:04.1f}"
