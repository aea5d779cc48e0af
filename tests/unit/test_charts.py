"""Scales, ticks, points and charts, each by itself."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.report.charts.host import charts_of, frame_of
from synguard.report.charts.panel import NARROW, WIDE, clusters, drawn
from synguard.report.charts.points import GAP_S, Point, runs, thinned
from synguard.report.charts.scales import Linear, number_label, time_ticks, value_ticks, zone_label
from tests.support.accounts import NOW, account, flooded_day, thousand_bans

BERLIN = ZoneInfo("Europe/Berlin")


def points(*most: float, each_s: float = 10.0) -> list[Point]:
    return [Point(i * each_s, (i + 1) * each_s, 0.0, value / 2, value) for i, value in enumerate(most)]


def test_a_scale_maps_ends_to_ends_and_stays_within_them() -> None:
    scale = Linear(0, 100, 170, 10)
    assert (scale(0), scale(50), scale(100), scale(1000), scale(-5)) == (170, 90, 10, 10, 170)
    assert Linear(5, 5, 0, 10)(5) == 0


@pytest.mark.parametrize(
    ("most", "labels"),
    [
        (0, ["0", "1"]),
        (1, ["0", "1"]),
        (129, ["0", "50", "100", "150"]),
        (10_230, ["0", "5k", "10k", "15k"]),
        (2_000_000, ["0", "500k", "1M", "1.5M", "2M"]),
    ],
)
def test_ticks_of_values_are_round_and_reach_the_highest(most: float, labels: list[str]) -> None:
    assert [tick.label for tick in value_ticks(most)] == labels


@given(st.floats(min_value=0, max_value=1e9))
def test_ticks_of_any_value_are_few_and_cover_it(most: float) -> None:
    ticks = value_ticks(most)
    assert 2 <= len(ticks) <= 7
    assert ticks[-1].value >= most
    assert len({tick.label for tick in ticks}) == len(ticks)


@pytest.mark.parametrize(("value", "label"), [(0, "0"), (5.19, "5.19"), (999, "999"), (1500, "1.5k"), (3e6, "3M")])
def test_numbers_are_short(value: float, label: str) -> None:
    assert number_label(value) == label


def test_ticks_of_a_day_stand_at_round_hours_of_the_zone() -> None:
    since = datetime(2026, 3, 4, 14, 30, tzinfo=UTC)
    labels = [tick.label for tick in time_ticks(since, since + timedelta(days=1), 9, BERLIN)]
    assert labels == ["18:00", "21:00", "Thu 5", "03:00", "06:00", "09:00", "12:00", "15:00"]


def test_ticks_stay_at_round_hours_on_the_day_the_clocks_are_set() -> None:
    since = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)  # summer time begins on the 29th
    ticks = time_ticks(since, since + timedelta(days=2), 12, BERLIN)
    assert [tick.label for tick in ticks] == ["18:00", "Sun 29", "06:00", "12:00", "18:00", "Mon 30", "06:00", "12:00"]
    assert ticks[2].value - ticks[1].value == 5 * 3600


def test_zones_at_half_an_hour_have_whole_hours_too() -> None:
    ticks = time_ticks(NOW, NOW + timedelta(hours=5), 9, ZoneInfo("Asia/Kolkata"))
    assert [tick.label for tick in ticks] == ["20:00", "21:00", "22:00", "23:00", "Fri 6", "01:00"]


@given(st.floats(min_value=1, max_value=400 * 86400), st.integers(min_value=2, max_value=12))
def test_there_are_never_more_ticks_of_time_than_there_is_room_for(span_s: float, about: int) -> None:
    ticks = time_ticks(NOW, NOW + timedelta(seconds=span_s), about, BERLIN)
    assert len(ticks) <= about + 1
    assert all(NOW.timestamp() <= tick.value <= NOW.timestamp() + span_s for tick in ticks)


@pytest.mark.parametrize(
    ("zone", "label"), [("Europe/Berlin", "CET, UTC+01:00"), ("UTC", "UTC"), ("America/Sao_Paulo", "UTC-03:00")]
)
def test_a_zone_is_named_with_its_distance(zone: str, label: str) -> None:
    assert zone_label(NOW, ZoneInfo(zone)) == label


def test_thinning_keeps_the_peak_the_least_and_the_mean() -> None:
    many = points(*([1.0] * 500 + [129.0] + [1.0] * 499))
    few = thinned(many, 100)
    assert 90 <= len(few) <= 110
    assert max(one.most for one in few) == 129
    weight = sum(one.mean * (one.end - one.start) for one in few) / sum(one.end - one.start for one in few)
    assert weight == pytest.approx(sum(one.mean for one in many) / 1000)


@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(0, 50), st.floats(0, 1e6)), max_size=80), st.integers(1, 40))
def test_thinning_never_loses_a_peak_nor_bridges_a_gap(steps: list[tuple[float, float, float]], most: int) -> None:
    many, at = [], 0.0
    for lasts, pause, value in steps:
        many.append(Point(at + pause, at + pause + lasts, 0.0, value, value))
        at += pause + lasts
    few = thinned(many, most)
    assert max((one.most for one in few), default=0) == max((one.most for one in many), default=0)
    gaps = sum(after.start - before.end > GAP_S for before, after in pairwise(many))
    assert len(runs(few)) == len(runs(many)) == (gaps + 1 if many else 0)


def test_marks_that_cannot_be_told_apart_are_one() -> None:
    assert clusters([(10.0, "b"), (9.0, "a"), (40.0, "c")]) == [(9.0, ["a", "b"]), (40.0, ["c"])]


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=lambda size: size.name)
@pytest.mark.parametrize("told", [flooded_day(), account(), thousand_bans()], ids=["flood", "calm", "many"])
def test_every_chart_is_sound_and_everything_drawn_lies_on_its_paper(told: object, size: object) -> None:
    frame = frame_of(told, UTC)  # type: ignore[arg-type]
    for chart in charts_of(told):  # type: ignore[arg-type]
        tree = ET.fromstring(drawn(chart, frame, size))  # type: ignore[arg-type]
        _, _, width, height = map(float, tree.attrib["viewBox"].split())
        for one in tree.iter():
            for name, bound in (("x", width), ("x1", width), ("x2", width), ("y", height), ("y1", height)):
                assert -1 <= float(one.attrib.get(name, 0)) <= bound, (one.tag, one.attrib)
        labelled = tree.attrib["aria-labelledby"].split()
        ids = {one.attrib["id"]: one for one in tree.iter() if "id" in one.attrib}
        assert all(ids[name].text for name in labelled)


def test_a_flood_is_drawn_with_its_peak_its_full_queue_its_gap_and_its_bans() -> None:
    told = flooded_day()
    half_open = ET.fromstring(drawn(charts_of(told)[0], frame_of(told, UTC), WIDE))
    classes = [one.attrib.get("class", "") for one in half_open.iter()]
    texts = [one.text for one in half_open.iter() if one.attrib.get("class") == "value"]
    assert texts == ["≥ 129"]
    assert classes.count("attack") == 2
    assert classes.count("gap") == 1
    assert classes.count("full") == 2
    assert classes.count("ban") == 2, "those of one moment are one mark"
    assert classes.count("line a") == 2, "a line on either side of the gap"


def test_a_calm_chart_of_syns_says_why_there_is_none() -> None:
    told = account()
    syns = drawn(charts_of(told)[1], frame_of(told, UTC), WIDE)
    assert "SYNs are sampled under pressure only" in syns
