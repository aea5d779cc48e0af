"""Sampled sources that were met before are told from those that were not, in memory of fixed size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synguard.detector.counting import AddressRows, observe
from synguard.detector.recent_sources import REMEMBERED_S, RecentSources
from synguard.model import Signal
from synguard.policy.models import Limits, Policy
from tests.support.traffic import columns

POLICY = Policy(name="web", limits=Limits(syn_rate=25), prefix_limits=Limits(syn_rate=250))
TICK_S = 0.05


def met(recent_sources: RecentSources, *addresses: str, at: float, prefixlen: int = 32) -> list[bool]:
    return recent_sources.met(*columns(addresses), prefixlen, at).tolist()


def test_who_was_met_is_known_again_and_a_stranger_is_not() -> None:
    recent_sources = RecentSources(seed=1)
    assert met(recent_sources, "192.0.2.1", "2001:db8::1", at=1.0) == [False, False]
    assert met(recent_sources, "192.0.2.1", "192.0.2.2", "2001:db8::1", at=1.05) == [True, False, True]


@pytest.mark.parametrize("start", [0.0, 0.3, 1.9])
def test_nobody_is_forgotten_within_a_generation_and_everybody_after_two(start: float) -> None:
    recent_sources = RecentSources(seed=1)
    met(recent_sources, at=0.0)
    met(recent_sources, "192.0.2.1", at=start)
    for tick in range(1, 100):
        met(recent_sources, "203.0.113.5", at=start + tick * REMEMBERED_S / 101)
    assert met(recent_sources, "192.0.2.1", at=start + REMEMBERED_S * 0.99) == [True]
    assert met(recent_sources, "203.0.113.5", at=start + 10 * REMEMBERED_S) == [False]


def test_a_clock_that_goes_back_forgets_rather_than_remembers_for_good() -> None:
    recent_sources = RecentSources(seed=1)
    met(recent_sources, "192.0.2.1", at=1000.0)
    assert met(recent_sources, "192.0.2.1", at=5.0) == [False]


def test_an_address_that_is_a_prefix_in_one_policy_is_not_taken_for_a_source_in_another() -> None:
    recent_sources = RecentSources(seed=1)
    met(recent_sources, "192.0.2.0", at=1.0, prefixlen=24)
    assert met(recent_sources, "192.0.2.0", at=1.0, prefixlen=32) == [False]


def test_few_strangers_are_taken_for_somebody_else_at_the_most_that_is_ever_sampled() -> None:
    """20,000 a second for two generations; nothing is gained by one who cannot know the seed."""
    recent_sources, rng = RecentSources(seed=7), np.random.default_rng(1)
    taken = 0
    for tick in range(int(2 * REMEMBERED_S / TICK_S)):
        low = np.uint64(0xFFFF << 32) | np.unique(rng.integers(1 << 24, 0xDF << 24, 1000, dtype=np.uint64))
        taken = int(recent_sources.met(np.zeros_like(low), low, 32, tick * TICK_S).sum())
    assert taken <= 3  # of about 1,000 in the last tick, of whom none was met


def rain(addresses: list[str], recent_sources: RecentSources, at: float) -> list[str]:
    high, low = columns(addresses)
    rows = AddressRows(high, low, np.full(len(high), 80, np.uint16), 1 / TICK_S, sampled=True, at=at)
    return [
        str(one.target) for one in observe(rows, POLICY, Signal.SYN_RATE, pressed=True, recent_sources=recent_sources)
    ]


def test_a_source_that_sends_once_is_never_reported_and_one_that_comes_back_is_from_its_second_syn_on() -> None:
    recent_sources = RecentSources(seed=1)
    told = [
        rain([f"{1 + i}.{tick}.{i}.{i}" for i in range(200)] + ["192.0.2.1"], recent_sources, tick * TICK_S)
        for tick in range(20)
    ]
    assert told[0] == []
    assert all("192.0.2.1/32" in one for one in told[1:])
    assert sum(len(one) for one in told) <= 19 + 2  # of 4,000 strangers: marks are shared by chance now and then


def test_a_source_with_several_syns_in_one_tick_needs_no_second_one() -> None:
    assert rain(["192.0.2.1", "192.0.2.1"], RecentSources(seed=1), 1.0) == ["192.0.2.1/32"]


def test_a_prefix_of_sources_that_each_send_once_is_reported_at_once() -> None:
    crowd = [f"198.18.7.{i}" for i in range(100)]
    assert rain(crowd, RecentSources(seed=1), 1.0)[0] == "198.18.7.0/24"


def test_sockets_are_counted_whole_whoever_was_met() -> None:
    """What is not sampled is no guess: a single socket counts."""
    high, low = columns(["192.0.2.1"])
    rows = AddressRows(high, low, np.full(1, 80, np.uint16), 1.0)
    strict = replace_limits(1)
    assert len(observe(rows, strict, Signal.HALF_OPEN, pressed=False, recent_sources=RecentSources(seed=1))) == 1
    sampled = replace(rows, sampled=True, weight=20.0)
    assert observe(sampled, POLICY, Signal.SYN_RATE, pressed=True, recent_sources=RecentSources(seed=1)) == []


def replace_limits(half_open: float) -> Policy:
    return POLICY.model_copy(update={"limits": Limits(half_open=half_open)})


def test_one_look_at_a_banned_source_that_is_taken_for_many_syns_is_one_look() -> None:
    """While everybody is challenged the program looks at 1 SYN in 16: each forged source was taken for 16 SYNs."""
    recent_sources, told = RecentSources(seed=1), []
    for tick in range(2):
        high, low = columns([f"{1 + i}.{tick}.{i}.{i}" for i in range(200)] + ["192.0.2.1", "192.0.2.2"])
        counted = np.full(len(high), 16)
        counted[-1] = 17
        rows = AddressRows(
            high,
            low,
            np.full(len(high), 80, np.uint16),
            1 / TICK_S,
            True,
            at=tick * TICK_S,
            counted=counted,
            of_banned=16,
        )
        found = observe(rows, POLICY, Signal.SYN_RATE, pressed=False, recent_sources=recent_sources)
        told.append({str(one.target): one.variance / one.value / rows.weight for one in found})
    assert told == [{"192.0.2.2/32": 1.0}, {"192.0.2.1/32": 16.0, "192.0.2.2/32": 1.0}]
