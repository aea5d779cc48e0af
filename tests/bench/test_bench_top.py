"""What ``synguard top`` costs an agent that it watches, beside the same agent unwatched, in one flood."""

from __future__ import annotations

import os
import time

import psutil
import pytest

from tests.support.lab.agent import SYNGUARD, Agent
from tests.support.lab.flood_plan import FloodPlan, hosts
from tests.support.lab.lab import Lab
from tests.support.protection import scattered
from tests.support.pty_screen import PtyScreen

pytestmark = [pytest.mark.kernel, pytest.mark.bench, pytest.mark.timeout(300)]

SHORT = bool(os.environ.get("SHORT"))
ROUNDS = 2 if SHORT else 5
ROUND_S = 3.0 if SHORT else 6.0


def test_cost_of_being_watched(lab: Lab) -> None:
    lab.serve()
    agent = lab.agent()
    agent.start("--enforce")
    command = lab.victim.command([SYNGUARD, "--config", str(agent.config_path), "top"])
    flood = lab.start_flood(FloodPlan(groups=(hosts(*scattered(200)),), pps=10_000, duration_s=100.0))
    time.sleep(3.0)
    alone, watched, top, sent = 0.0, 0.0, 0.0, 0
    for _ in range(ROUNDS):
        alone += cpu_s(agent, ROUND_S)
        with PtyScreen(command) as screen:
            screen.wait_for("hitting")
            before, began = screen.received, psutil.Process(screen.process.pid).cpu_times()
            watched += cpu_s(agent, ROUND_S, screen)
            ended = psutil.Process(screen.process.pid).cpu_times()
            top += sum(ended[:2]) - sum(began[:2])
            sent += screen.received - before
    assert flood.running
    seconds = ROUNDS * ROUND_S
    print(
        f"\nagent under 10,000 SYN/s with 200 bans: {alone / seconds:.1%} of a core unwatched, {watched / seconds:.1%} "
        f"watched ({watched / alone:.2f} times); "
        f"top itself {top / seconds:.1%} of a core, {sent / seconds:.0f} bytes a second",
        end="",
    )


def cpu_s(agent: Agent, seconds: float, screen: PtyScreen | None = None) -> float:
    """Return the CPU seconds that the agent takes in this time, while the screen, if any, is read."""
    process = psutil.Process(agent.pid)
    before = sum(process.cpu_times()[:4])
    if screen is None:
        time.sleep(seconds)
    else:
        screen.read_for(seconds)
    return sum(process.cpu_times()[:4]) - before
