"""Scores: the CUSUM that turns a measurement over its limit into a reason to act."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.decision.scores import MOST, TRACKED, ScoreKey, Scores
from synguard.detector.assessment import Observation
from synguard.model import Signal

TARGET = ip_network("198.51.100.7/32")
HOLDS = {"default": {Signal.HALF_OPEN: 1.0, Signal.SYN_RATE: 0.4}}
KEY = ScoreKey("default", TARGET, Signal.HALF_OPEN)


def seen(value: float, limit: float = 64, variance: float = 0.0, target=TARGET, signal=Signal.HALF_OPEN) -> Observation:
    return Observation("default", target, signal, value, limit, (80,), variance=variance)


def seconds_until_an_offender(value: float, dt: float = 0.01, at_most: float = 30.0) -> float | None:
    scores, passed = Scores(HOLDS), 0.0
    while passed < at_most:
        scores.advance([seen(value)], {Signal.HALF_OPEN: dt})
        passed += dt
        if list(scores.offenders()):
            return passed
    return None


@pytest.mark.parametrize(("times", "expected"), [(2, 1.0), (3, 0.5), (10, 1 / 9), (1.1, 10.0)])
def test_twice_the_limit_is_borne_for_the_hold_and_ten_times_for_a_ninth_of_it(times: float, expected: float) -> None:
    assert seconds_until_an_offender(64 * times) == pytest.approx(expected, abs=0.02)


def test_at_the_limit_no_one_is_ever_an_offender() -> None:
    assert seconds_until_an_offender(64) is None


def test_a_score_drains_in_at_most_three_holds_however_large_the_flood_was() -> None:
    scores = Scores(HOLDS)
    scores.advance([seen(1_000_000)], {Signal.HALF_OPEN: 1.0})
    assert dict(scores.highest(1))[KEY].points == MOST
    for _ in range(31):
        scores.advance([], {Signal.HALF_OPEN: 0.1})
    assert len(scores) == 0


def test_a_signal_that_was_not_measured_keeps_its_score() -> None:
    scores = Scores(HOLDS)
    scores.advance([seen(96)], {Signal.HALF_OPEN: 0.5})
    before = dict(scores.highest(1))[KEY].points
    scores.advance([], {Signal.SYN_RATE: 5.0})
    assert dict(scores.highest(1))[KEY].points == before > 0


def test_one_reading_after_a_stall_speaks_for_no_longer_than_the_hold() -> None:
    scores = Scores(HOLDS)
    scores.advance([seen(65)], {Signal.HALF_OPEN: 3600.0})
    assert not list(scores.offenders())


def test_one_sampled_syn_that_stands_for_many_makes_no_offender() -> None:
    """At 1 in 1024 a single kept SYN in 50 ms reads as 20,480 SYN/s: that is noise, not a flood."""
    scores = Scores(HOLDS)
    weight = 1024 / 0.05
    scores.advance([seen(weight, 25, variance=weight * weight, signal=Signal.SYN_RATE)], {Signal.SYN_RATE: 0.05})
    [(_, score)] = scores.highest(1)
    assert score.points == MOST
    assert not score.offenders


def test_a_sampled_flood_is_acted_on_once_enough_of_it_was_seen() -> None:
    scores = Scores(HOLDS)
    for _ in range(6):
        scores.advance([seen(78, 25, variance=78 / 0.05, signal=Signal.SYN_RATE)], {Signal.SYN_RATE: 0.05})
    [(_, score)] = scores.offenders()
    assert score.evidence.value == pytest.approx(78)
    assert 0 < score.evidence.error < 53


def test_memory_is_bounded_and_the_worst_are_kept() -> None:
    scores = Scores({"default": {Signal.HALF_OPEN: 1.0}})
    crowd = [
        seen(65, target=ip_network(f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}/32")) for i in range(TRACKED + 500)
    ]
    scores.advance([*crowd, seen(500)], {Signal.HALF_OPEN: 0.1})
    assert len(scores) == TRACKED
    assert scores.highest(1)[0][0] == KEY


@given(st.lists(st.tuples(st.floats(0, 1e7), st.floats(0.001, 100)), max_size=50))
def test_a_score_is_never_negative_and_never_past_its_ceiling(steps: list[tuple[float, float]]) -> None:
    scores = Scores(HOLDS)
    for value, dt in steps:
        scores.advance([seen(value)] if value >= 32 else [], {Signal.HALF_OPEN: dt})
        assert all(0 < score.points <= MOST for _, score in scores.highest(10))
