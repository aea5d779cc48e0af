"""The timeline of a report, in figures and in text."""

from __future__ import annotations

from datetime import timedelta

import pytest

from synguard.ledger import Figure, Stretch, Track
from synguard.output.times import clock_time
from synguard.report.charts.host import summary
from synguard.report.sparkline import sparkline, timeline_lines
from synguard.report.timeline import MOST_POINTS, Health, Timeline, grain_for, health_of, watched_words
from tests.support.accounts import NOW, flooded_day, timeline

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("span_s", [60.0, 900.0, 3600.0, 86400.0, 7 * 86400.0, 365 * 86400.0])
def test_a_span_of_any_length_has_few_points(span_s: float) -> None:
    grain_s = grain_for(span_s)
    assert grain_s < 1 or span_s / grain_s <= max(MOST_POINTS, 366)


def test_gaps_are_where_nobody_watched_the_ends_included() -> None:
    line = Timeline(NOW - 3 * HOUR, NOW, (Stretch(NOW - 2 * HOUR, 600, 600), Stretch(NOW - HOUR, 601, 601)))
    assert line.gaps() == [
        (NOW - 3 * HOUR, NOW - 2 * HOUR),
        (NOW - 2 * HOUR + timedelta(minutes=10), NOW - HOUR),
        (NOW - HOUR + timedelta(seconds=601), NOW),
    ]
    assert watched_words(line) == ("An agent watched 20m 1s of these 3h (11%); nothing is known of the rest.")


def test_a_restart_of_a_second_is_no_gap() -> None:
    line = Timeline(
        NOW - HOUR,
        NOW,
        (Stretch(NOW - HOUR, 1800, 1800), Stretch(NOW - HOUR / 2 + timedelta(seconds=1), 1799, 1799)),
    )
    assert line.gaps() == []
    assert watched_words(line) == "An agent watched all of these 1h."


@pytest.mark.parametrize(
    ("figures", "health"),
    [
        ({Figure.COMPLETED: 5.0}, Health.GOOD),
        ({Figure.COMPLETED: 5.0, Figure.COOKIES_SENT: 9.0}, Health.COOKIES),
        ({Figure.COMPLETED: 5.0, Figure.COOKIES_SENT: 9.0, Figure.DROPPED: 1.0}, Health.DROPPED),
        ({Figure.COMPLETED: 5.0, Figure.REFUSED: 1.0}, Health.SLOW),
        ({Figure.HALF_OPEN: 3.0}, Health.UNKNOWN),
    ],
)
def test_the_health_of_a_stretch_is_its_gravest(figures: dict[Figure, float], health: Health) -> None:
    tracks = {figure: Track(10, total, 0, total) for figure, total in figures.items()}
    assert health_of(Stretch(NOW, 10, 10, tracks=tracks)) is health


def test_a_sparkline_tells_zero_from_not_known() -> None:
    assert sparkline([0.0, None, 5.0, 10.0]) == "▁·▅█"
    assert sparkline([0.0, 0.0]) == "▁▁"
    assert sparkline([]) == ""


def test_the_timeline_in_text_shows_flood_and_gap_in_their_columns() -> None:
    lines = list(timeline_lines(flooded_day().timeline))
    half_open = next(line for line in lines if "half-open" in line)
    clients = next(line for line in lines if line.lstrip().startswith("clients") and "X" in line)
    assert "peak 129" in half_open
    assert "the true count was higher" in half_open
    bars = half_open.split()[1]
    assert len(bars) == 60
    assert bars[22:23] == "█"
    assert bars[37:41].count("·") >= 2
    assert "c" not in clients.removeprefix("  clients")


def test_a_peak_is_never_before_its_attack() -> None:
    """Over a day a row stands for five minutes: a flood of 14:03 peaked at 14:00, before it had begun."""
    row = Stretch(NOW - HOUR, 300, 300, tracks={Figure.HALF_OPEN: Track(300, 900, 0, 129)})
    line = Timeline(NOW - timedelta(days=1), NOW, (row,))
    assert next(text for text in timeline_lines(line) if "half-open" in text).endswith(
        f"peak 129 between {clock_time(row.at, NOW)} and {clock_time(row.until, NOW)}"
    )
    assert " and " in summary(line, Figure.HALF_OPEN, "half-open sockets").partition("highest 129 between")[2]


def test_nothing_kept_is_no_timeline() -> None:
    assert list(timeline_lines(Timeline(NOW - HOUR, NOW))) == []
    assert "no agent kept history" in watched_words(Timeline(NOW - HOUR, NOW))


def test_a_calm_day_was_watched_whole() -> None:
    assert timeline(timedelta(days=1)).share == 1.0
