"""One chart: figures over time with axes and units, what was not seen hatched, attacks and bans marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from synguard.report.charts.points import Point, runs, thinned
from synguard.report.charts.scales import Linear, number_label, time_ticks, value_ticks
from synguard.report.charts.svg import escaped, path, tag, text

LEFT: Final = 46
RIGHT: Final = 10
TOP: Final = 16
BOTTOM: Final = 22
STRIP: Final = 14
"""Height of the strip of states below a chart."""
APART: Final = 7
"""Bans nearer than this many units to one another are one mark."""


@dataclass(frozen=True, slots=True)
class ChartSeries:
    """One line."""

    name: str
    style: str
    """A class of the style sheet: ``a``, ``b``, ``c``."""
    points: Sequence[Point]
    filled: bool = False
    """Whether the mean is drawn too, as an area."""


@dataclass(frozen=True, slots=True)
class ChartSpan:
    """A stretch of time, in POSIX seconds, and what is to be said of it."""

    start: float
    end: float
    label: str
    style: str = ""
    link: str = ""
    """Where in the page it leads to; nowhere if empty."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One ban on the axis of time."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn, whatever the size."""

    key: str
    title: str
    summary: str
    """The chart in words, for those who do not see it."""
    series: tuple[ChartSeries, ...]
    empty: str
    """Said where there is nothing to draw."""
    censored: tuple[ChartSpan, ...] = ()
    strip: tuple[ChartSpan, ...] = ()


@dataclass(frozen=True, slots=True)
class ChartFrame:
    """What all charts of a page share: the axis of time, and what happened along it."""

    since: datetime
    until: datetime
    zone: tzinfo | None
    gaps: tuple[ChartSpan, ...] = ()
    attacks: tuple[ChartSpan, ...] = ()
    bans: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Size:
    """How large a chart is drawn, and how much of it there is room for."""

    name: str
    width: int
    height: int
    points: int
    time_ticks: int


WIDE: Final = Size("wide", 960, 170, 360, 9)
NARROW: Final = Size("narrow", 360, 170, 150, 4)


class _Paper:
    """One chart at one size: the scales, and what is drawn with them."""

    def __init__(self, chart: Chart, frame: ChartFrame, size: Size) -> None:
        self.chart, self.frame, self.size = chart, frame, size
        self.id = f"{chart.key}-{size.name}"
        self.series = [(one, thinned(one.points, size.points)) for one in chart.series]
        most = max((point.most for _, points in self.series for point in points), default=0.0)
        self.ticks = value_ticks(most)
        self.bottom = size.height - BOTTOM - (STRIP if chart.strip else 0)
        self.x = Linear(frame.since.timestamp(), frame.until.timestamp(), LEFT, size.width - RIGHT)
        self.y = Linear(0.0, self.ticks[-1].value, self.bottom, TOP)

    def draw(self) -> str:
        """Return the whole chart."""
        chart, size = self.chart, self.size
        return tag(
            "svg",
            tag("title", escaped(chart.title), id=f"{self.id}-title"),
            tag("desc", escaped(chart.summary), id=f"{self.id}-desc"),
            tag(
                "defs",
                hatch(f"{self.id}-gap", "gap-line", 6),
                hatch(f"{self.id}-full", "full-line", 4),
                *self._strip_patterns(),
            ),
            *self._behind(),
            *self._grid(),
            *(part for series, points in self.series for part in self._line(series, points)),
            *self._peaks(),
            *self._marks(),
            *self._strip(),
            *self._times(),
            class_=f"chart {size.name}",
            viewBox=f"0 0 {size.width} {size.height}",
            role="group" if any(one.link for one in self.frame.attacks) else "img",  # a picture has no links
            aria_labelledby=f"{self.id}-title {self.id}-desc",
        )

    def _behind(self) -> Iterator[str]:
        for span in self.frame.attacks:
            band = self._band(span, "attack")
            yield tag("a", band, self._bar(span), href=span.link, aria_label=span.label) if span.link else band
        for span in self.frame.gaps:
            yield self._band(span, "gap", f"url(#{self.id}-gap)")
            middle = (self.x(span.start) + self.x(span.end)) / 2
            if self.x(span.end) - self.x(span.start) > 70:
                yield text(span.label, x=middle, y=self.bottom - 6, class_="note", text_anchor="middle")
        for span in self.chart.censored:
            yield self._band(span, "full", f"url(#{self.id}-full)")

    def _band(self, span: ChartSpan, style: str, fill: str = "") -> str:
        left = self.x(span.start)
        box: dict[str, str | float] = {
            "x": left,
            "y": TOP,
            "width": max(self.x(span.end) - left, 1.0),
            "height": self.bottom - TOP,
            "class_": style,
        }
        return tag("rect", tag("title", escaped(span.label)), **(box | ({"fill": fill} if fill else {})))

    def _bar(self, span: ChartSpan) -> str:
        """Return the bar over an attack, wide enough to be hit by a finger."""
        left = self.x(span.start)
        width = max(self.x(span.end) - left, 8.0)
        left = min(left, self.size.width - RIGHT - width)
        return tag("rect", x=left, y=TOP, width=width, height=6, class_="attack-bar")

    def _grid(self) -> Iterator[str]:
        for tick in self.ticks:
            height = self.y(tick.value)
            yield tag("line", x1=LEFT, x2=self.size.width - RIGHT, y1=height, y2=height, class_="grid")
            yield text(tick.label, x=LEFT - 6, y=height + 3.5, class_="tick", text_anchor="end")

    def _times(self) -> Iterator[str]:
        base = self.size.height - BOTTOM
        for tick in time_ticks(self.frame.since, self.frame.until, self.size.time_ticks, self.frame.zone):
            place = self.x(tick.value)
            yield tag("line", x1=place, x2=place, y1=base, y2=base + 4, class_="axis")
            inside = min(max(place, LEFT + 4), self.size.width - RIGHT - 16)
            yield text(tick.label, x=inside, y=base + 15, class_="tick", text_anchor="middle")
        yield tag("line", x1=LEFT, x2=self.size.width - RIGHT, y1=self.bottom, y2=self.bottom, class_="axis")

    def _line(self, series: ChartSeries, points: Sequence[Point]) -> Iterator[str]:
        for run in runs(points):
            if series.filled:
                yield tag("path", d=self._area(run), class_=f"area {series.style}")
            yield tag("path", d=self._steps(run), class_=f"line {series.style}")
        if not points and series is self.chart.series[0]:
            middle = (LEFT + self.size.width - RIGHT) / 2
            yield text(self.chart.empty, x=middle, y=(TOP + self.bottom) / 2, class_="note", text_anchor="middle")

    def _steps(self, run: Sequence[Point]) -> str:
        commands: list[tuple[str, float] | tuple[str, float, float]] = [
            ("M", self.x(run[0].start), self.y(run[0].most))
        ]
        for point in run:
            commands.append(("V", self.y(point.most)))
            commands.append(("H", max(self.x(point.end), self.x(point.start) + 0.6)))
        return path(commands)

    def _area(self, run: Sequence[Point]) -> str:
        commands: list[tuple[str, float] | tuple[str, float, float]] = [("M", self.x(run[0].start), self.bottom)]
        for point in run:
            commands.append(("V", self.y(point.mean)))
            commands.append(("H", self.x(point.end)))
        return path((*commands, ("V", self.bottom))) + "Z"

    def _peaks(self) -> Iterator[str]:
        """Yield the highest point of the first line, with its value."""
        points = self.series[0][1] if self.series else []
        highest = max(points, key=lambda point: point.most, default=None)
        if highest is None or highest.most <= 0:
            return
        x, y = self.x((highest.start + highest.end) / 2), self.y(highest.most)
        censored = any(span.start <= highest.end and highest.start <= span.end for span in self.chart.censored)
        right = x > self.size.width / 2
        yield tag("circle", cx=x, cy=y, r=3, class_="peak")
        yield text(
            ("≥ " if censored else "") + number_label(highest.most),
            x=x - 8 if right else x + 8,
            y=max(y - 3, TOP + 10),
            class_="value",
            text_anchor="end" if right else "start",
        )

    def _marks(self) -> Iterator[str]:
        for place, labels in clusters([(self.x(mark.at), mark.label) for mark in self.frame.bans]):
            label = labels[0] if len(labels) == 1 else f"{labels[0]} and {len(labels) - 1} more"
            triangle = f"M{place - 4:.1f} 3h8l-4 8z"
            yield tag("path", tag("title", escaped(label)), d=triangle, class_="ban")

    def _strip_patterns(self) -> Iterator[str]:
        if self.chart.strip:
            yield hatch(f"{self.id}-dropped", "cut-line", 5)
            yield hatch(f"{self.id}-cookies", "cut-line", 6, angle=0)

    def _strip(self) -> Iterator[str]:
        for span in self.chart.strip:
            left = self.x(span.start)
            box: dict[str, str | float] = {
                "x": left,
                "y": self.bottom + 4,
                "width": max(self.x(span.end) - left, 1.0),
                "height": STRIP - 5,
            }
            yield tag("rect", tag("title", escaped(span.label)), **box, class_=f"health {span.style}")
            if span.style in ("dropped", "cookies"):
                yield tag("rect", **box, fill=f"url(#{self.id}-{span.style})")


def drawn(chart: Chart, frame: ChartFrame, size: Size) -> str:
    """Return a chart as an SVG element of one size."""
    return _Paper(chart, frame, size).draw()


def clusters(marks: Iterable[tuple[float, str]]) -> list[tuple[float, list[str]]]:
    """Return (place, labels) of marks that stand far enough apart to be told from one another."""
    found: list[tuple[float, list[str]]] = []
    for place, label in sorted(marks):
        if found and place - found[-1][0] < APART:
            found[-1][1].append(label)
        else:
            found.append((place, [label]))
    return found


def hatch(name: str, style: str, width: int, angle: int = 45) -> str:
    """Return a pattern of lines, slanted by default, so that what it fills is told without colour too."""
    line = tag("line", x1=0, y1=0, x2=0, y2=width, class_=style)
    return tag(
        "pattern",
        line,
        id=name,
        width=width,
        height=width,
        patternUnits="userSpaceOnUse",
        patternTransform=f"rotate({angle})",
    )
