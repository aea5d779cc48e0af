"""What a tick costs in a flood of forged sources, with and without a memory of who was met before.

Prints only. Readings are made up, so that nothing but assessing and deciding is timed; CPU time of this thread.
"""

from __future__ import annotations

import os
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import pytest

from synguard.decision.engine import Engine
from synguard.detector.detector import Detector
from synguard.detector.recent_sources import RecentSources
from synguard.policy.load import load_policies
from synguard.policy.models import Config
from synguard.readings import CounterReading, Readings, SynSample
from tests.support.traffic import listener, sockets, table

pytestmark = pytest.mark.bench

TICKS: Final = 40 if os.environ.get("SHORT") else 200
TICK_S: Final = 0.05
FLOODS: Final = ((1_000, 1), (10_000, 1), (100_000, 8))
"""SYNs a second, and 1 in how many is kept."""


class Forgetful(RecentSources):
    """Takes everybody for met, as if nothing were remembered."""

    def met(self, high, low, prefixlen, at):
        return np.ones(len(high), np.bool_)


def forged(rng: np.random.Generator, at: float, pps: int, one_in: int) -> SynSample:
    rows = int(rng.poisson(pps * TICK_S / one_in))
    low = np.uint64(0xFFFF << 32) | rng.integers(1 << 24, 0xDF << 24, rows, dtype=np.uint64)
    return SynSample(
        at=at, source_high=np.zeros(rows, np.uint64), source_low=low, local_port=np.full(rows, 80, np.uint16),
        ttl=rng.integers(30, 255, rows).astype(np.uint8), tcp_window=np.full(rows, 64240, np.uint16),
        options=np.zeros(rows, np.uint32), one_in=one_in, window_s=TICK_S, more=np.zeros(rows, np.uint32),
    )  # fmt: skip


def ms_a_tick(memory: type[RecentSources], pps: int, one_in: int) -> tuple[float, float]:
    """Return CPU milliseconds and observations a tick."""
    config, rng, utc = Config(), np.random.default_rng(1), datetime.now(UTC)
    policies = load_policies(config, None)
    detector = Detector(policies, seed=1)
    detector._recent_sources = memory(seed=1)
    engine = Engine(config, policies, new_id=lambda: "none", chance=random.Random(1))
    queue = table({f"1.2.{i}.3": 1 for i in range(129)}, 80)
    spent = observations = 0.0
    for number in range(TICKS):
        at = 100.0 + number * TICK_S
        dropped = int(pps * (at - 100.0))
        readings = Readings(
            at=at, half_open=sockets(at, queue), listeners=(listener(80, 128, 0),), syns=forged(rng, at, pps, one_in),
            counters=CounterReading(at, {"TCPReqQFullDrop": dropped, "ListenDrops": dropped}),
        )  # fmt: skip
        start = time.thread_time()
        assessment = detector.assess(readings)
        engine.decide(assessment, utc + timedelta(seconds=at))
        spent += time.thread_time() - start
        observations += len(assessment.observations)
    return 1000 * spent / TICKS, observations / TICKS


def test_a_tick_in_a_forged_flood() -> None:
    print(f"\n{'SYN/s':>8} {'kept':>7} {'remembered':>11} {'not':>9} {'ratio':>6}   observations a tick")
    for pps, one_in in FLOODS:
        ours, told = ms_a_tick(RecentSources, pps, one_in)
        bare, all_told = ms_a_tick(Forgetful, pps, one_in)
        costs = f"{ours:8.2f} ms {bare:6.2f} ms {bare / ours:5.1f}x"
        print(f"{pps:8,} {'1/' + str(one_in):>7} {costs}   {told:.0f} / {all_told:.0f}")
        assert told < all_told
