"""Suggested limits: what they rest on, what bounds them, and what is refused."""

from __future__ import annotations

from ipaddress import ip_address
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.addresses import V4_PREFIX, Network, parse_network
from synguard.decision.scores import Scores
from synguard.detector.assessment import Observation
from synguard.model import Signal
from synguard.policy.models import Limits, Policy
from synguard.readings import Protected, Readings
from synguard.recording.shape import Moment
from synguard.replay.peaks import Peaks
from synguard.replay.suggestion import FLOORS, Margin, Suggestion, margin_for, rounded_up, suggest
from synguard.replay.traffic_profile import TrafficProfile
from tests.support.calm_day import calm
from tests.support.recordings import START

POLICY = Policy(
    name="web",
    limits=Limits(half_open=64, syn_rate=100, connections=400, connection_rate=200),
    prefix_limits=Limits(half_open=256, syn_rate=1000, connections=3000, connection_rate=1000),
)
TWICE = Margin(2, "x2")
BUSY = "198.51.100.7"


def surveyed(ticks: list[Readings], policy: Policy = POLICY, protected: Protected | None = None) -> TrafficProfile:
    survey = TrafficProfile([policy])
    known = protected or Protected({})
    for readings in ticks:
        survey.add(Moment(START, readings, known, 0), calm=True)
    return survey


def suggested(ticks: list[Readings], policy: Policy = POLICY, protected: Protected | None = None) -> Suggestion:
    [one] = suggest([policy], surveyed(ticks, policy, protected), TWICE, POLICY)
    return one


def one_target(hold_s: float, readings: list[tuple[float, float]]) -> Peaks:
    """Feed one address with (dt, value) readings."""
    peaks, at = Peaks(hold_s, 4, 32), 0.0
    high, low = np.zeros(1, np.uint64), np.full(1, V4_PREFIX << 32 | int(ip_address(BUSY)), np.uint64)
    for dt, value in readings:
        at += dt
        peaks.add(at, dt, high, low, np.array([value]))
    return peaks


def test_a_peak_is_the_mean_over_the_hold() -> None:
    loudest = one_target(1.0, [(0.2, 0.0)] * 5 + [(0.2, 50.0)] * 2 + [(0.2, 0.0)] * 20 + [(0.2, 30.0)]).loudest()
    assert loudest == (pytest.approx(20.0), parse_network(BUSY))


@given(
    st.lists(st.tuples(st.sampled_from([0.05, 0.2, 1.0]), st.floats(0, 1000)), min_size=1, max_size=40),
    st.sampled_from([0.4, 1.0, 5.0]),
    st.floats(1, 10),
)
def test_under_a_limit_of_so_many_times_the_peak_nobody_gathers_more_than_that_part_of_the_score(
    readings: list[tuple[float, float]], hold_s: float, margin: float
) -> None:
    """What the pack promises its reader, held against the scores themselves."""
    peak = one_target(hold_s, readings).loudest()
    assert peak is not None
    if peak[0] < 1e-3:
        return
    limit, target = peak[0] * margin, parse_network(BUSY)
    scores, highest = Scores({"web": {Signal.HALF_OPEN: hold_s}}), 0.0
    for dt, value in readings:
        observation = Observation("web", target, Signal.HALF_OPEN, value, limit, (80,))
        scores.advance([observation], {Signal.HALF_OPEN: dt})
        highest = max([highest, *(score.points for _, score in scores.highest(1))])
    assert highest <= 100 / margin + 1e-6


@given(st.floats(0.001, 1e7))
def test_rounding_goes_up_and_not_far(value: float) -> None:
    assert value * (1 - 1e-6) <= rounded_up(value) <= 1.5 * value + 1e-6


def test_rounding_gives_numbers_that_people_write() -> None:
    assert [rounded_up(value) for value in (1, 1.1, 26, 41, 100, 601, 9999)] == [1, 1.2, 30, 50, 100, 800, 10000]


def test_margins_narrow_as_more_is_recorded() -> None:
    factors = [margin_for(seconds).factor for seconds in (60, 3600, 86400)]
    assert factors == [4, 3, 2]
    assert all(wide > narrow for wide, narrow in pairwise(factors))
    assert margin_for(60, 7).factor == 7
    assert "only 1m of calm" in margin_for(60).why


def test_a_busy_source_lifts_the_limit_with_the_margin_and_is_named() -> None:
    one = suggested(list(calm(20, loud={BUSY: 120})))
    line = one.sources[Signal.CONNECTIONS]
    assert line.limit == 250
    assert one.policy.limits.connections == 250
    assert any("120 x 2 = 240, rounded up. In effect before: 400." in text for text in line.argument)
    assert any(f"{BUSY} had 120" in text for text in line.argument)
    assert any(f"{BUSY} alone sets limits.connections" in text for text in one.warnings)


def test_quiet_traffic_does_not_push_limits_below_sanity() -> None:
    one = suggested(list(calm(20)))
    assert {signal: line.limit for signal, line in one.sources.items()} == FLOORS
    assert all(line.limit >= 4 * FLOORS[signal] for signal, line in one.prefixes.items())
    assert any("Not below what a small office" in text for text in one.sources[Signal.HALF_OPEN].argument)
    assert one.warnings == ()


def test_limits_far_above_the_default_are_told_aloud() -> None:
    one = suggested(list(calm(20, loud={BUSY: 6000})))
    assert one.sources[Signal.CONNECTIONS].limit == 12_000
    assert any("limits.connections 12000 is 30 times the default pack's 400" in text for text in one.warnings)


def test_protected_sources_are_not_measured_for_they_are_never_banned() -> None:
    protected = Protected({parse_network("198.51.100.0/24"): "allow-list"})
    one = suggested(list(calm(20, loud={BUSY: 500})), protected=protected)
    assert one.sources[Signal.CONNECTIONS].limit == FLOORS[Signal.CONNECTIONS]


def test_signals_that_a_policy_does_not_judge_stay_so() -> None:
    policy = Policy(name="proxied", limits=Limits(half_open=1000))
    one = suggested(list(calm(20, loud={BUSY: 500})), policy)
    assert set(one.sources) == {Signal.HALF_OPEN}
    assert one.policy.limits.connections is None
    assert one.policy.prefix_limits == Limits()


def test_too_few_sources_leave_the_limits_as_they_were() -> None:
    one = suggested(list(calm(20, count=5)))
    assert not one.enough
    assert one.policy == POLICY
    assert one.warnings == ("policy web: 5 sources on its ports are too few to judge by; its limits stay as they were",)


def test_a_prefix_of_many_quiet_sources_sets_the_prefix_limit() -> None:
    crowd = {f"203.0.113.{i}": 20 for i in range(1, 101)}
    one = suggested(list(calm(20, loud=crowd)))
    assert one.sources[Signal.CONNECTIONS].limit == 50
    assert one.prefixes[Signal.CONNECTIONS].limit == 4000
    [seen] = [line.figures for signal, line in one.prefixes.items() if signal is Signal.CONNECTIONS]
    assert seen is not None
    assert str(seen.loudest) == "203.0.113.0/24"


@pytest.mark.parametrize("address", ["2001:db8:7:1::5", BUSY])
def test_both_families_are_measured_by_what_is_a_source_in_them(address: str) -> None:
    survey = surveyed(list(calm(20, loud={address: 100})))
    figures = survey.of_sources(POLICY, Signal.CONNECTIONS)
    assert figures is not None
    width: Network = parse_network(address).supernet(new_prefix=64) if ":" in address else parse_network(address)
    assert figures.loudest == width
    assert figures.peak == pytest.approx(100)


def test_what_is_not_calm_is_not_measured() -> None:
    survey = TrafficProfile([POLICY])
    for readings in calm(20, loud={BUSY: 500}):
        survey.add(Moment(START, readings, Protected({}), 0), calm=readings.at > 30)
    assert survey.sources(POLICY) == 0
    assert survey.calm_s == 0
