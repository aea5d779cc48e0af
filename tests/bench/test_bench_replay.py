"""What a recording costs on disk and in CPU, and how fast it is replayed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from synguard.policy.load import load_policies
from synguard.policy.models import Config
from synguard.recording.reader import Recording
from synguard.replay.player import Player
from synguard.replay.replay_result import ReplayResult
from tests.conftest import MakeLab
from tests.support.lab.client_plan import steady
from tests.support.lab.flood_plan import FloodPlan, anywhere
from tests.support.lab.lab import Lab

pytestmark = [pytest.mark.kernel, pytest.mark.bench, pytest.mark.timeout(600)]

RECORDED_S = 8.0 if os.environ.get("SHORT") else 30.0


@dataclass(frozen=True)
class Cost:
    """A stretch of agent life, recorded or not."""

    cpu_share: float
    path: Path | None


def lives(lab: Lab, name: str, pps: float, *, recording: bool) -> Cost:
    agent = lab.agent(name=name)
    path = lab.workdir / f"{name}.rec"
    agent.start("--dry-run", *(["--record", str(path)] if recording else []))
    clients = lab.start_clients(steady(duration_s=RECORDED_S + 2))
    flood = lab.start_flood(FloodPlan(groups=(anywhere(4),), pps=pps, duration_s=RECORDED_S)) if pps else None
    process = psutil.Process(agent.pid)
    before, since = process.cpu_times(), time.monotonic()
    time.sleep(RECORDED_S)
    after, until = process.cpu_times(), time.monotonic()
    used = after.user + after.system - before.user - before.system
    agent.stop()
    clients.stop()
    if flood is not None:
        flood.stop()
    return Cost(used / (until - since), path if recording else None)


@pytest.mark.parametrize("pps", [0, 1_000, 10_000], ids=["calm", "1,000 SYN/s", "10,000 SYN/s"])
def test_cost_of_recording_and_speed_of_replay(make_lab: MakeLab, pps: float) -> None:
    lab = make_lab()
    lab.serve()
    without = lives(lab, "without", pps, recording=False)
    told = lives(lab, "with", pps, recording=True)
    assert told.path is not None
    config = Config()
    player, story = Player(config, load_policies(config)), ReplayResult()
    began, cpu = time.perf_counter(), time.process_time()
    with Recording(told.path) as recording:
        for moment in recording.moments():
            story.add(player.play(moment), player.scores)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    size = told.path.stat().st_size
    print(
        f"\n{pps:,.0f} SYN/s from anywhere, 40 clients a second, {story.seconds:.0f} s, {story.ticks} ticks: "
        f"{size / story.ticks:,.0f} bytes a tick, {size / story.seconds * 3600 / 2**20:,.1f} MiB an hour; "
        f"agent {without.cpu_share:.1%} of a core, recording {told.cpu_share:.1%}; "
        f"replay {story.seconds / took:,.0f} times real speed ({story.seconds / cpu:,.0f} by its CPU time)"
    )
    assert story.ticks > RECORDED_S
