"""The lines above the tables: mode, health, what the host feels, incidents, problems, the loudest first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from synguard.ledger.records import Figure
from synguard.model import Mode
from synguard.output.times import left
from synguard.plain import count
from synguard.report.sparkline import trend
from synguard.status.agent_commands import start_command
from synguard.status.model import FloodStatus, Status
from synguard.top.snapshot import GRAIN_S, LATELY, Snapshot
from synguard.top.spans import Line, Span, Style, line
from synguard.top.text import figure
from synguard.units import format_duration

MOST_PROBLEMS = 3
GAP = "  "


def head_lines(snapshot: Snapshot, *, paused: bool = False) -> list[Line]:
    """Return the lines, the first one mode, the second one rates; what is not the case takes no line."""
    seen = snapshot.overview
    problems = [str(problem) for problem in seen["problems"]]
    lines = [_mode_line(snapshot, paused), _rates(snapshot), *_lately(snapshot)]
    if snapshot.alive and snapshot.status is not None:
        lines += [_health(snapshot, snapshot.status, bool(seen["healthy"])), *_events(snapshot.status, snapshot.at)]
    else:
        absent = problems.pop()  # the last one is that no agent speaks
        lines.append(line(Span(f"{absent}; start it: {start_command()}", Style.BAD)))
    lines += [line(Span(f"problem: {problem}", Style.BAD)) for problem in problems[:MOST_PROBLEMS]]
    if len(problems) > MOST_PROBLEMS:
        lines.append(line(Span(f"and {len(problems) - MOST_PROBLEMS} more problems, see synguard status", Style.BAD)))
    return lines


def _mode_line(snapshot: Snapshot, paused: bool) -> Line:
    parts: list[Span | str] = [Span("synguard top ", Style.STRONG), f"{snapshot.at.astimezone():%H:%M:%S}", GAP]
    if paused:
        parts += [Span(" PAUSED, p resumes ", Style.LOUD), GAP]
    return line(*parts, *_mode(snapshot))


def _mode(snapshot: Snapshot) -> Iterator[Span | str]:
    status = snapshot.status
    if not snapshot.alive or status is None:
        runs = snapshot.overview["running"]
        yield Span(" THE AGENT REPORTS NOTHING " if runs else " NO AGENT RUNS ", Style.LOUD)
        yield f"{GAP}configured: {snapshot.mode}"
    elif status.mode is Mode.DRY_RUN:
        yield Span(" DRY-RUN: nothing is blocked ", Style.LOUD)
    elif status.confirm_by is not None:
        ends = left(max(status.confirm_by - snapshot.at, status.confirm_by - status.confirm_by))
        yield Span(f" ON TRIAL: dry-run again in {ends} unless confirmed ", Style.LOUD)
    else:
        yield Span("ENFORCING", Style.GOOD)


def _rates(snapshot: Snapshot) -> Line:
    if not snapshot.alive or snapshot.status is None:
        if snapshot.sockets is None:
            return line(Span("half-open sockets are not known", Style.FAINT))
        return line(
            f"half-open {figure(snapshot.sockets.half_open)}", Span("  read from the socket table now", Style.FAINT)
        )
    return line(*_flood(snapshot.status.flood, snapshot.status.challenges.targets > 0))


def _lately(snapshot: Snapshot) -> Iterator[Line]:
    """Yield how SYNs and half-open sockets went in the last minutes, where that is kept."""
    if not snapshot.lately:
        return
    columns = int(LATELY.total_seconds() / GRAIN_S)
    since = snapshot.at - LATELY
    syns, half_open = (trend(snapshot.lately, one, since, columns, GRAIN_S) for one in (Figure.SYNS, Figure.HALF_OPEN))
    yield line(f"{format_duration(LATELY.total_seconds())} SYN/s {syns} half-open {half_open}")  # 80 places


def _flood(flood: FloodStatus, challenged: bool) -> Iterator[Span | str]:
    yield Span(f"SYN/s {figure(flood.syn_pps)}", Style.STRONG)
    yield f"{GAP}half-open {figure(flood.half_open)}{GAP}connections {figure(flood.connections)}"
    yield f"{GAP}served/s {figure(flood.completed_pps)}"
    if flood.dropped_pps >= 0.5:
        yield Span(f"{GAP}SYNs lost/s {figure(flood.dropped_pps)}", Style.BAD)
    if flood.accept_overflows_pps >= 0.5:
        yield Span(f"{GAP}accept lost/s {figure(flood.accept_overflows_pps)}", Style.BAD)
    if max(flood.cookies_sent_pps, flood.cookies_received_pps) >= 0.5:
        sent, back = figure(flood.cookies_sent_pps), figure(flood.cookies_received_pps)
        out = "" if challenged else f"{sent} out "  # those of challenges are not counted there
        yield Span(f"{GAP}cookies/s {out}{back} back", Style.WATCH)


def _health(snapshot: Snapshot, status: Status, healthy: bool) -> Line:
    reading = sum(sensor.ok for sensor in status.sensors.values())
    up = format_duration(max((snapshot.at - status.started_at).total_seconds(), 0.0))
    return line(
        Span("healthy", Style.GOOD) if healthy else Span("NOT HEALTHY", Style.BAD),
        f"{GAP}sensors {reading}/{len(status.sensors)}{GAP}plane {status.plane}{GAP}{_held(snapshot)}",
        f"proven peers {figure(status.proven_peers)}{GAP}",
        Span(f"pid {status.pid}, up {up}{GAP}policies {', '.join(status.policies)}", Style.FAINT),
    )


def _held(snapshot: Snapshot) -> str:
    return "" if snapshot.kernel is None else f"{figure(len(snapshot.kernel.held))} in kernel{GAP}"


def _events(status: Status, at: datetime) -> Iterator[Line]:
    for one in status.incidents:
        lasts = format_duration(max((at - one.started_at).total_seconds(), 0.0))
        note = f"; {one.note}" if one.note and not status.countermeasures else ""  # these have lines of their own
        bans = count(one.bans, "ban")
        text = f"incident {one.id}: {one.kind}, {one.phase} for {lasts}, {bans}, {one.spared} spared{note}"
        yield line(Span(text, Style.WATCH))
    if status.verdict:
        yield line(Span(f"verdict: {status.verdict}", Style.WATCH))
    for measure in status.countermeasures:
        lasts = format_duration(max((at - measure.since).total_seconds(), 0.0))
        what = "would be" if measure.dry_run else "is"
        change = f"{measure.setting} {what} {measure.now} instead of {measure.before}, for {lasts}"
        yield line(f"counter measure: {change}")
