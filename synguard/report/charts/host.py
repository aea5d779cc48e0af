"""The charts of a report: half-open sockets, SYNs, how handshakes fared, and connections, from its timeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import tzinfo

from synguard.addresses import format_network
from synguard.ledger.records import Figure, Stretch
from synguard.output.times import clock_time
from synguard.report.account import Account
from synguard.report.charts.panel import Chart, ChartFrame, ChartSeries, ChartSpan, Mark
from synguard.report.charts.points import GAP_S, Point
from synguard.report.charts.scales import number_label
from synguard.report.timeline import HEALTH_WORDS, Health, Peak, Timeline, health_of, health_seconds
from synguard.units import format_duration

MOST_MARKS = 2000
"""Bans marked along the axis of time, the latest; their marks cannot be told apart long before."""
MOST_LINKED = 60
"""Attacks of which each chart has a bar that leads to them, the latest."""

STYLES = {
    Health.GOOD: "good",
    Health.SLOW: "slow",
    Health.COOKIES: "cookies",
    Health.DROPPED: "dropped",
    Health.UNKNOWN: "unknown",
}
"""Health → its class in the style sheet."""


def frame_of(account: Account, zone: tzinfo | None = None) -> ChartFrame:
    """Return what all charts of an account share."""
    line, until = account.timeline, account.until
    first, last = line.shown
    return ChartFrame(
        since=first,
        until=last,
        zone=zone,
        gaps=tuple(
            ChartSpan(max(start, first).timestamp(), min(end, last).timestamp(), "not watched")
            for start, end in line.gaps()
            if start < last and end > first
        ),
        attacks=tuple(
            ChartSpan(
                max(one.started_at, first).timestamp(),
                min(one.ended_at or until, last).timestamp(),
                f"{one.kind}, {clock_time(one.started_at, until)} to "
                + ("now" if one.ended_at is None else clock_time(one.ended_at, until)),
                link=f"#attack-{one.id}" if number < MOST_LINKED else "",
            )
            for number, one in enumerate(account.incidents)
            if one.started_at < last and (one.ended_at or until) > first
        ),
        bans=tuple(
            Mark(
                record.ban.created_at.timestamp(),
                f"{record.ban.standing} {format_network(record.ban.target)} at "
                f"{clock_time(record.ban.created_at, until)}",
            )
            for record in account.bans[:MOST_MARKS]
            if first <= record.ban.created_at <= last
        ),
    )


def charts_of(account: Account) -> tuple[Chart, ...]:
    """Return the charts of an account, in the order of the page."""
    line = account.timeline
    return (
        Chart(
            "half-open",
            "Half-open sockets (SYN_RECV)",
            summary(line, Figure.HALF_OPEN, "half-open sockets"),
            (_series(line, Figure.HALF_OPEN, "half-open sockets", "a", filled=True),),
            "not known",
            censored=tuple(_full(line.stretches)),
        ),
        Chart(
            "syns",
            "SYNs per second",
            _syns_summary(line),
            (
                _series(line, Figure.SYNS, "on the wire, sampled", "a", filled=True),
                _series(line, Figure.COOKIES_SENT, "answered by a SYN cookie", "b"),
                _series(line, Figure.DROPPED, "turned away by a full queue", "c"),
            ),
            "SYNs are sampled under pressure only, and there was none",
        ),
        Chart(
            "handshakes",
            "Connect health: handshakes completed per second",
            _health_summary(line),
            (_series(line, Figure.COMPLETED, "handshakes completed", "a", filled=True),),
            "not known",
            strip=tuple(_strip(line.stretches)),
        ),
        Chart(
            "connections",
            "Open connections",
            summary(line, Figure.CONNECTIONS, "open connections"),
            (_series(line, Figure.CONNECTIONS, "open connections", "a", filled=True),),
            "not known",
        ),
    )


def summary(line: Timeline, figure: Figure, what: str, unit: str = "") -> str:
    """Return one figure's chart in words: its mean, its highest and when, and for how long it is not known."""
    peak, mean = line.peak(figure), line.mean(figure)
    if peak is None or mean is None:
        return f"Not known: no agent kept {what}."
    more = ", or more: a SYN queue was full" if peak.censored else ""
    when = f" {_when(peak)}" if peak.value else ""
    text = f"Mean {number_label(mean)}{unit}, highest {number_label(peak.value)}{unit}{when}{more}."
    missing = (line.until - line.since).total_seconds() - line.known_s(figure)
    return f"{text} Not known for {format_duration(missing)}." if missing > 60 else text


def _syns_summary(line: Timeline) -> str:
    peak = line.peak(Figure.SYNS)
    parts = [
        "SYNs were never sampled: that is done under pressure only."
        if peak is None
        else f"Highest {number_label(peak.value)}/s {_when(peak)}; sampled for "
        f"{format_duration(line.known_s(Figure.SYNS))}, under pressure only."
    ]
    for figure, words in ((Figure.COOKIES_SENT, "answered by a SYN cookie"), (Figure.DROPPED, "turned away")):
        total = line.total(figure)
        if total >= 1:
            parts.append(f"{total:,.0f} SYNs were {words}.")
    return " ".join(parts)


def _health_summary(line: Timeline) -> str:
    lasted = health_seconds(line.stretches)
    states = [
        f"for {format_duration(seconds)} {HEALTH_WORDS[health]}"
        for health, seconds in sorted(lasted.items(), key=lambda pair: -pair[1])
        if seconds >= 1
    ]
    text = summary(line, Figure.COMPLETED, "handshakes", "/s")
    shown = "; ".join(states)
    return f"{text} {shown[:1].upper()}{shown[1:]}." if shown else text


def _series(line: Timeline, figure: Figure, name: str, style: str, *, filled: bool = False) -> ChartSeries:
    points = [
        Point(one.at.timestamp(), one.until.timestamp(), track.least, track.mean, track.most)
        for one, track in line.tracks(figure)
    ]
    if not filled:  # a line of its own along the bottom would say no more than that there were none
        points = [point for point in points if point.most > 0]
    return ChartSeries(name, style, points, filled)


def _full(stretches: Iterable[Stretch]) -> Iterator[ChartSpan]:
    """Yield the times in which a SYN queue was full."""
    full = (one for one in stretches if one.censored_s)
    yield from _joined(full, lambda _: ("full", "queue full: the true count was higher"))


def _strip(stretches: Iterable[Stretch]) -> Iterator[ChartSpan]:
    yield from _joined(stretches, lambda one: (STYLES[health_of(one)], HEALTH_WORDS[health_of(one)]))


def _joined(stretches: Iterable[Stretch], shown: Callable[[Stretch], tuple[str, str]]) -> Iterator[ChartSpan]:
    """Yield what is shown of stretches; equal neighbours are one span."""
    span: ChartSpan | None = None
    for one in stretches:
        style, label = shown(one)
        start, end = one.at.timestamp(), one.until.timestamp()
        if span is not None and span.style == style and start - span.end <= GAP_S:
            span = ChartSpan(span.start, end, label, style)
            continue
        if span is not None:
            yield span
        span = ChartSpan(start, end, label, style)
    if span is not None:
        yield span


def _when(peak: Peak) -> str:
    return f"between {peak.at.astimezone():%a %H:%M:%S} and {peak.until.astimezone():%H:%M:%S}"
