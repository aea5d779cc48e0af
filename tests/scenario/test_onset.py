"""The challenge program sees SYNs become many between two ticks of a calm agent."""

from __future__ import annotations

import os
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from synguard.agent.pace import GATHER_S
from synguard.agent.tick import Tick
from synguard.policy.models import Limits, Policy
from tests.scenario.test_forged import flood
from tests.support.scene import Scene, Weather

POLICY = Policy(
    name="default",
    limits=Limits(half_open=64, syn_rate=100, connections=300, connection_rate=50),
    prefix_limits=Limits(half_open=256, syn_rate=500, connections=1000, connection_rate=300),
)
ATTACKER = "198.51.100.7"


class Onset:
    """A program that says once, some milliseconds after the agent began to wait, that SYNs have become many."""

    def __init__(self, scene: Scene, after_s: float, then: Weather) -> None:
        self.scene, self.after_s, self.then = scene, after_s, then
        self.reads, self.writes = os.pipe()
        os.write(self.writes, b"!")
        self.woken_at = 0.0
        self.state = scene.challenge

        self.pausing = False

    def survey(self, ports: frozenset[int], now: float) -> None:
        """Nothing stands in its way."""

    @property
    def onset_fd(self) -> int | None:
        return None if self.woken_at else self.reads

    def woken(self) -> None:
        self.scene.clock.advance(self.after_s)
        self.woken_at = self.scene.clock.monotonic()
        self.scene.sensors.weather = self.then


def ticks_after(tmp_path: Path, then: Weather, soon: Weather | None = None) -> tuple[Onset, list[tuple[float, Tick]]]:
    scene = Scene(tmp_path, POLICY)
    scene.lasts(3)
    onset: Any = Onset(scene, 0.004, then)
    scene.agent.challenges.program = onset
    seen: list[tuple[float, Tick]] = []

    def watch(tick: Tick, now: float, _utc: datetime) -> None:
        seen.append((now - onset.woken_at, tick))
        if onset.woken_at and soon is not None:
            scene.sensors.weather = soon

    scene.agent.observers.append(watch)
    scene.lives(1.0)
    return onset, seen[1:]


def test_a_flood_that_fills_a_queue_is_acted_on_in_the_first_tick_of_its_onset(tmp_path: Path) -> None:
    """SYNs are counted from the wake on, and for as long as it takes to have something to judge."""
    _, seen = ticks_after(tmp_path, flood({ATTACKER: 15_000.0}))
    at, tick = seen[0]
    assert at == pytest.approx(GATHER_S)
    assert tick.assessment.flood.syn_pps == pytest.approx(15_000, rel=0.05)
    assert tick.decision.bans


def test_a_flood_that_fills_a_queue_a_little_later_is_acted_on_half_a_tick_of_an_attack_after(tmp_path: Path) -> None:
    attack = flood({ATTACKER: 15_000.0})
    _, seen = ticks_after(tmp_path, Weather(syn_pps=attack.syn_pps), soon=attack)
    first = next(at for at, tick in seen if tick.decision.bans)
    assert GATHER_S < first <= GATHER_S + 0.03


def test_many_syns_that_nobody_suffers_from_are_judged_as_before_and_the_calm_pace_returns(tmp_path: Path) -> None:
    onset, seen = ticks_after(tmp_path, Weather(syn_pps={ATTACKER: 2000.0}))
    assert all(tick.assessment.flood.syn_pps == 0 and not tick.decision.bans for _, tick in seen)
    assert not onset.scene.sensors.running
    pauses = [round(after[0] - before[0], 3) for before, after in pairwise(seen)]
    assert pauses[:3] == [0.025, 0.025, 0.05]
    assert pauses[-1] == 0.2
