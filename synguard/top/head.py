"""The lines above the tables: mode, health, what the host feels, incidents, problems, the loudest first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from synguard.model import Mode
from synguard.report.moments import left
from synguard.report.status import FloodStatus, Status
from synguard.top.sight import Sight
from synguard.top.spans import Line, Span, Style, line
from synguard.top.text import figure
from synguard.units import format_duration

MOST_PROBLEMS = 3
GAP = "  "


def head_lines(sight: Sight, *, paused: bool = False) -> list[Line]:
    """Return the lines, the first one mode, the second one rates; what is not the case takes no line."""
    seen = sight.overview
    problems = [str(problem) for problem in seen["problems"]]
    lines = [_mode_line(sight, paused), _rates(sight)]
    if sight.alive and sight.status is not None:
        lines += [_health(sight, sight.status, bool(seen["healthy"])), *_events(sight.status, sight.at)]
    else:
        absent = problems.pop()  # what is told last is that no agent speaks
        lines.append(line(Span(f"{absent}; start it: synguard run, or systemctl start synguard", Style.BAD)))
    lines += [line(Span(f"problem: {problem}", Style.BAD)) for problem in problems[:MOST_PROBLEMS]]
    if len(problems) > MOST_PROBLEMS:
        lines.append(line(Span(f"and {len(problems) - MOST_PROBLEMS} more problems, see synguard status", Style.BAD)))
    return lines


def _mode_line(sight: Sight, paused: bool) -> Line:
    parts: list[Span | str] = [Span("synguard top ", Style.STRONG), f"{sight.at.astimezone():%H:%M:%S}", GAP]
    if paused:
        parts += [Span(" PAUSED, p goes on ", Style.LOUD), GAP]
    return line(*parts, *_mode(sight))


def _mode(sight: Sight) -> Iterator[Span | str]:
    status = sight.status
    if not sight.alive or status is None:
        runs = sight.overview["running"]
        yield Span(" THE AGENT SAYS NOTHING " if runs else " NO AGENT RUNS ", Style.LOUD)
        yield f"{GAP}configured: {sight.mode}"
    elif status.mode is Mode.DRY_RUN:
        yield Span(" DRY-RUN: nothing is blocked ", Style.LOUD)
    elif status.confirm_by is not None:
        ends = left(max(status.confirm_by - sight.at, status.confirm_by - status.confirm_by))
        yield Span(f" ON TRIAL: dry-run again in {ends} unless confirmed ", Style.LOUD)
    else:
        yield Span("ENFORCING", Style.GOOD)


def _rates(sight: Sight) -> Line:
    if not sight.alive or sight.status is None:
        if sight.sockets is None:
            return line(Span("half-open sockets are not known", Style.FAINT))
        return line(
            f"half-open {figure(sight.sockets.half_open)}", Span("  read from the socket table now", Style.FAINT)
        )
    return line(*_flood(sight.status.flood))


def _flood(flood: FloodStatus) -> Iterator[Span | str]:
    yield Span(f"SYN/s {figure(flood.syn_pps)}", Style.STRONG)
    yield f"{GAP}half-open {figure(flood.half_open)}{GAP}connections {figure(flood.connections)}"
    yield f"{GAP}served/s {figure(flood.completed_pps)}"
    if flood.dropped_pps >= 0.5:
        yield Span(f"{GAP}SYNs lost/s {figure(flood.dropped_pps)}", Style.BAD)
    if flood.accept_overflows_pps >= 0.5:
        yield Span(f"{GAP}accept lost/s {figure(flood.accept_overflows_pps)}", Style.BAD)
    if max(flood.cookies_sent_pps, flood.cookies_received_pps) >= 0.5:
        sent, back = figure(flood.cookies_sent_pps), figure(flood.cookies_received_pps)
        yield Span(f"{GAP}cookies/s {sent} out {back} back", Style.WATCH)


def _health(sight: Sight, status: Status, healthy: bool) -> Line:
    reading = sum(sensor.ok for sensor in status.sensors.values())
    up = format_duration(max((sight.at - status.started_at).total_seconds(), 0.0))
    return line(
        Span("healthy", Style.GOOD) if healthy else Span("NOT HEALTHY", Style.BAD),
        f"{GAP}sensors {reading}/{len(status.sensors)}{GAP}plane {status.plane}{GAP}{_held(sight)}",
        f"proven peers {figure(status.proven_peers)}{GAP}",
        Span(f"pid {status.pid}, up {up}{GAP}policies {', '.join(status.policies)}", Style.FAINT),
    )


def _held(sight: Sight) -> str:
    return "" if sight.kernel is None else f"{figure(len(sight.kernel.held))} in kernel{GAP}"


def _events(status: Status, at: datetime) -> Iterator[Line]:
    for one in status.incidents:
        lasts = format_duration(max((at - one.started_at).total_seconds(), 0.0))
        told = any(measure.text and measure.text in one.note for measure in status.countermeasures)
        note = f"; {one.note}" if one.note and not told else ""
        text = f"incident {one.id}: {one.kind}, {one.phase} for {lasts}, {one.bans} bans, {one.spared} spared{note}"
        yield line(Span(text, Style.WATCH))
    if status.verdict:
        yield line(Span(f"verdict: {status.verdict}", Style.WATCH))
    for measure in status.countermeasures:
        lasts = format_duration(max((at - measure.since).total_seconds(), 0.0))
        what = "would be" if measure.dry_run else "is"
        change = f"{measure.setting} {what} {measure.now} instead of {measure.before}, for {lasts}"
        yield line(f"counter measure: {change}")
