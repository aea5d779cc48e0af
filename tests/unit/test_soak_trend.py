"""The soak's judgement: what it must find, and what must not alarm it."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from tests.soak.trend import Allowance, Point, growth

MIB = 1024.0 * 1024
HOUR = [15.0 * i for i in range(240)]
"""One point every quarter of a minute."""
MEMORY = Allowance(3 * MIB)


def points(values: Iterable[float]) -> list[Point]:
    return [(at, value, None) for at, value in zip(HOUR, values, strict=True)]


def noisy(seed: int = 1) -> list[float]:
    """An agent's memory without a leak: another flood each round, spikes now and then, arenas in steps."""
    chance = random.Random(seed)
    return [
        (80 + (0, 1.5, 0.5, 2, 0, 1)[i % 6] + chance.choice((0, 0.25)) + 30 * (chance.random() < 0.05)) * MIB
        for i in range(len(HOUR))
    ]


@pytest.mark.parametrize("seed", range(20))
def test_noise_spikes_and_rounds_are_no_growth(seed: int) -> None:
    assert not growth(points(noisy(seed)), MEMORY).grows


@pytest.mark.parametrize("seed", range(20))
def test_a_leak_of_a_seventh_of_the_memory_an_hour_is_found_under_the_noise(seed: int) -> None:
    leaking = [value + 12 * MIB * at / 3600 for at, value in zip(HOUR, noisy(seed), strict=True)]
    found = growth(points(leaking), MEMORY)
    assert found.grows
    assert found.per_hour == pytest.approx(12 * MIB, rel=0.3)


def test_what_fills_up_at_first_and_then_holds_is_no_growth() -> None:
    assert not growth(points(min(at, 900.0) * MIB / 10 for at in HOUR), MEMORY).grows


def test_what_shrinks_is_no_growth() -> None:
    assert not growth(points(-at for at in HOUR), Allowance(0.0)).grows


def test_one_descriptor_left_behind_by_every_round_is_found() -> None:
    assert growth(points(float(20 + i) for i in range(len(HOUR))), Allowance(4)).grows


def test_a_share_of_the_median_is_allowed_where_it_is_more() -> None:
    rising = points(100.0 + at / 100 for at in HOUR)
    assert growth(rising, Allowance(1)).grows
    assert not growth(rising, Allowance(1, share=0.5)).grows


COSTS = (1.0, 2.0, 3.0, 9.0, 12.0, 20.0)
"""What a tick costs in each of the floods, which take turns."""


def test_floods_that_cost_more_one_after_the_other_are_no_growth() -> None:
    """The short soak judged four rounds of four floods, and failed now and then by which came last."""
    rounds: list[Point] = [(at, COSTS[i % 6], i % 6) for i, at in enumerate(HOUR[:18])]
    assert not growth(rounds, Allowance(1)).grows
    assert growth([(at, cost, None) for at, cost, _ in rounds[:6]], Allowance(1)).grows


def test_a_tick_that_costs_more_in_every_flood_is_found() -> None:
    rounds: list[Point] = [(at, COSTS[i % 6] * (1 + at / 3600), i % 6) for i, at in enumerate(HOUR)]
    assert growth(rounds, Allowance(1)).grows


def test_too_few_points_are_an_error_and_never_a_pass() -> None:
    with pytest.raises(ValueError, match="2 points"):
        growth([(0.0, 1.0, None), (1.0, 1.0, None), (2.0, 1.0, None)], MEMORY)
    with pytest.raises(ValueError, match="3 points"):
        growth([(float(i), 1.0, i) for i in range(5)], MEMORY)
