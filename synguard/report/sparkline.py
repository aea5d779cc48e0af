"""The timeline in text: one row a figure, one column a stretch of time, as far as a terminal goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from synguard.ledger.records import Figure, Stretch
from synguard.output.times import clock_time
from synguard.report.charts.scales import number_label
from synguard.report.timeline import Health, Peak, Timeline, health_of
from synguard.units import format_duration

COLUMNS: Final = 60
_BARS: Final = "▁▂▃▄▅▆▇█"
_GAP: Final = "·"
_LETTERS: Final = {
    Health.GOOD: "-",
    Health.SLOW: "s",
    Health.COOKIES: "c",
    Health.DROPPED: "X",
    Health.UNKNOWN: _GAP,
}
_GRAVITY: Final = (Health.DROPPED, Health.COOKIES, Health.SLOW, Health.GOOD, Health.UNKNOWN)
_ROWS: Final = (
    (Figure.HALF_OPEN, "half-open"),
    (Figure.SYNS, "SYN/s"),
    (Figure.COMPLETED, "handshakes/s"),
    (Figure.CONNECTIONS, "connections"),
)


def sparkline(values: Sequence[float | None]) -> str:
    """Return a bar a value, the highest full; None, what is not known, is a dot."""
    most = max((value for value in values if value is not None), default=0.0)
    return "".join(_GAP if value is None else _bar(value, most) for value in values)


def _bar(value: float, most: float) -> str:
    if value <= 0 or most <= 0:
        return _BARS[0]
    return _BARS[min(round(value / most * (len(_BARS) - 1)), len(_BARS) - 1)]


def timeline_lines(timeline: Timeline) -> Iterator[str]:
    """Yield the timeline as lines of text; nothing where nothing was kept."""
    if not timeline.stretches:
        return
    since, until = timeline.shown
    width_s = (until - since).total_seconds() / COLUMNS
    cells = _cells(timeline.stretches, since, COLUMNS, width_s)
    yield f"Timeline, a column is {format_duration(width_s)}; {_GAP} is not known"
    for figure, name in _ROWS:
        peak = timeline.peak(figure)
        if peak is None:
            continue
        higher = ", queue full: the true count was higher" if peak.censored else ""
        at = f" {_when(peak, timeline.until)}" if peak.value else ""
        yield f"  {name:<13}{sparkline(_highest(cells, figure))} peak {number_label(peak.value)}{at}{higher}"
    health = "".join(_LETTERS[_gravest(cell)] for cell in cells)
    yield f"  {'clients':<13}{health}"
    yield f"  {'':<13}{_axis(since, width_s, COLUMNS, timeline.until)}"
    yield "  clients: - every SYN answered, c by SYN cookies, X turned away, s slow application"


def _when(peak: Peak, now: datetime) -> str:
    first, last = clock_time(peak.at, now), clock_time(peak.until, now)
    return f"between {first} and {last}" if last != first else f"at {first}"


def trend(stretches: Sequence[Stretch], figure: Figure, since: datetime, columns: int, width_s: float) -> str:
    """Return a bar for each ``width_s`` seconds from a time on, the highest full."""
    return sparkline(_highest(_cells(stretches, since, columns, width_s), figure))


def _highest(cells: Sequence[Sequence[Stretch]], figure: Figure) -> list[float | None]:
    return [max((one.tracks[figure].most for one in cell if figure in one.tracks), default=None) for cell in cells]


def _cells(stretches: Sequence[Stretch], since: datetime, columns: int, width_s: float) -> list[list[Stretch]]:
    """Return for each column the stretches that share a moment with it."""
    cells: list[list[Stretch]] = [[] for _ in range(columns)]
    for one in stretches:
        first = int((one.at - since).total_seconds() / width_s)
        last = int(((one.until - since).total_seconds() - 1e-6) / width_s)
        for index in range(max(first, 0), min(last, columns - 1) + 1):
            cells[index].append(one)
    return cells


def _gravest(cell: Sequence[Stretch]) -> Health:
    there = {health_of(one) for one in cell} or {Health.UNKNOWN}
    return next(health for health in _GRAVITY if health in there)


def _axis(since: datetime, width_s: float, columns: int, until: datetime) -> str:
    """Return times under the columns, each beginning at its own."""
    text = ""
    for column in range(0, columns, 20):
        text = text.ljust(column) + "|" + clock_time(since + timedelta(seconds=column * width_s), until)
    return text
