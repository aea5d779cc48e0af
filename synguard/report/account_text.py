"""The report as text for people: the verdict first, then bans with their evidence, then the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from textwrap import fill
from typing import Final

from synguard.addresses import format_network
from synguard.incidents import Incident
from synguard.ledger.records import BanRecord, VerdictRecord
from synguard.output.tables import printable
from synguard.output.times import both_zones, clock_time
from synguard.plain import count
from synguard.report.account import Account
from synguard.report.ban_table import by, counted, state, tells_evidence
from synguard.report.judgement import NotableDecision, judged
from synguard.report.next_steps import NextStep, advice, next_command
from synguard.report.sparkline import timeline_lines
from synguard.units import format_duration

SHOWN: Final = 40
"""Entries of each section in text; --format json has them all."""

_WIDTH: Final = 80


def account_text(account: Account) -> str:
    """Return the whole report; control characters in what others wrote are escaped."""
    return "\n".join(printable(line) for line in _lines(account)) + "\n"


def _lines(account: Account) -> Iterator[str]:
    span = format_duration((account.until - account.since).total_seconds())
    judgement = judged(account)
    host = f" on {account.host}" if account.host else ""
    yield f"synguard report{host}, {span} to {both_zones(account.until)}, mode {account.mode}"
    yield ""
    yield from fill(judgement.paragraph, _WIDTH, break_long_words=False).splitlines()
    now = account.until
    lines = list(timeline_lines(account.timeline))
    yield from ["", *lines] if lines else []
    hurt = [[f"{one.target}: {one.reason}"] for one in account.possible_false_positives]
    yield from _section("Not known", [[one] for one in judgement.unknown])
    yield from _section("Worth a look", [_look(one) for one in judgement.looks])
    yield from _section("Incidents", [_incident(one, now) for one in account.incidents])
    yield from _section("Bans", [_ban(record, now) for record in account.real])
    yield from _section("Would have been banned (dry-run)", [_ban(record, now) for record in account.dry_run_bans])
    yield from _section("Forged sources: no bans", [_verdict(record, now) for record in account.spoofed])
    yield from _section("Spared", [_verdict(record, now) for record in account.spared])
    yield from _section("Possible false positives", hurt)
    yield from _section("Done", [[f"{clock_time(one.at, now)} {one.kind}: {one.text}"] for one in account.actions])
    if account.watched:
        yield ""
        more = count(account.watched, "more target was", "more targets were")
        yield f"{more} over a limit, but not for long enough to act."
    yield from _section("What to change first", [_step(one) for one in advice(account, judgement)])
    yield ""
    yield f"Next: {next_command(account, judgement)}"


def _look(look: NotableDecision) -> list[str]:
    return [look.target, *look.reasons]


def _step(step: NextStep) -> list[str]:
    return [f"{step.what}: {step.why}", *step.how.splitlines()]


def _section(title: str, entries: Sequence[Sequence[str]]) -> Iterator[str]:
    if not entries:
        return
    yield ""
    yield f"{title} ({len(entries)})"
    for entry in entries[:SHOWN]:
        yield f"  {entry[0]}"
        yield from (f"      {line}" for line in entry[1:] if line)
    if len(entries) > SHOWN:
        yield f"  and {len(entries) - SHOWN} more; synguard report --format json has them all"


def _ban(record: BanRecord, now: datetime) -> list[str]:
    ban = record.ban
    until = "permanent" if ban.expires_at is None else f"until {clock_time(ban.expires_at, now)}"
    ports = f" ports {','.join(map(str, ban.ports))}" if ban.ports else ""
    again = f", time {ban.times} for it" if ban.times > 1 else ""
    return [
        f"{format_network(ban.target)}  {state(record, now)}: {ban.scope}{ports}, {ban.effect}, "
        f"{clock_time(ban.created_at, now)} {until}, by {by(ban)}{again}, "
        f"{counted(record, now)}",
        ban.reason,
        "" if tells_evidence(ban) else "evidence: " + "; ".join(map(str, ban.evidence)),
    ]


def _verdict(record: VerdictRecord, now: datetime) -> list[str]:
    verdict = record.verdict
    target = "the whole flood" if verdict.target is None else format_network(verdict.target)
    others = "further targets like " if record.others else ""
    times = f", {record.times} times" if record.times > 1 else ""
    return [
        f"{others}{target}  score {verdict.score:.0f}, {clock_time(record.first_at, now)} to "
        f"{clock_time(record.last_at, now)}{times}" + (f", policy {verdict.policy}" if verdict.policy else ""),
        verdict.reason,
        "" if tells_evidence(verdict) else "evidence: " + "; ".join(map(str, verdict.evidence)),
    ]


def _incident(incident: Incident, now: datetime) -> list[str]:
    end = "under way" if incident.ended_at is None else f"to {clock_time(incident.ended_at, now)}"
    peaks = [
        f"{incident.peak_half_open:,} half-open" if incident.peak_half_open else "",
        f"{incident.peak_syn_pps:,.0f} SYN/s" if incident.peak_syn_pps else "",
        count(incident.peak_connections, "connection") if incident.peak_connections else "",
        f"{count(incident.sources, 'source')} over a limit" if incident.sources else "",
    ]
    return [
        f"{incident.kind} {incident.id}, {clock_time(incident.started_at, now)} {end}: "
        f"{count(incident.bans, 'ban')}, {incident.spared:,} spared",
        "at its peak " + ", ".join(filter(None, peaks)) if any(peaks) else "",
        incident.note,
    ]
