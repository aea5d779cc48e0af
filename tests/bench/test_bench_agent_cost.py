"""What the agent costs: share of one core and resident memory, calm and under floods that are and are not stopped."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from tests.support.lab.agent import Agent
from tests.support.lab.flood_plan import FASTEST_PPS, FloodPlan, SourceGroup, anywhere, hosts
from tests.support.lab.lab import Lab
from tests.support.protection import crowd, scattered

pytestmark = [pytest.mark.kernel, pytest.mark.bench, pytest.mark.timeout(600)]

SHORT = bool(os.environ.get("SHORT"))
CALM_S = 4.0 if SHORT else 60.0
FLOOD_S = 2.0 if SHORT else 20.0
SETTLES_S = 0.0 if SHORT else 3.0
SHAPES: dict[str, SourceGroup] = {
    "one source, banned": hosts("198.18.0.1"),
    "128 sources, banned": hosts(*scattered(128)),
}


def test_cost_of_a_calm_agent(lab: Lab) -> None:
    lab.serve()
    agent = lab.agent()
    agent.start("--enforce")
    tell("idle", *cost(agent, CALM_S))
    clients = lab.start_clients(crowd())
    tell("calm, 60 new connections a second", *cost(agent, CALM_S / 2))
    clients.kill()


@pytest.mark.parametrize("pps", [10_000] if SHORT else [10_000, 50_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_cost_of_an_agent_under_a_flood(lab: Lab, shape: str, pps: int) -> None:
    under_a_flood(lab, f"{shape}, {pps:,} SYN/s", FloodPlan(groups=(SHAPES[shape],), pps=pps, duration_s=FLOOD_S + 20))


@pytest.mark.parametrize("challenge", ["auto"] if SHORT else ["auto", "off"])
def test_cost_of_an_agent_under_a_random_flood_at_full_speed(lab: Lab, challenge: str) -> None:
    plan = FloodPlan(groups=(anywhere(4),), pps=FASTEST_PPS, duration_s=FLOOD_S + 20, cpu=1)
    under_a_flood(lab, f"random sources, challenges {challenge}", plan, f'[challenge]\nenabled = "{challenge}"\n')


def under_a_flood(lab: Lab, what: str, plan: FloodPlan, config: str = "") -> None:
    lab.serve()
    agent = lab.agent(config)
    agent.start("--enforce")
    flood = lab.start_flood(plan)
    onset = cost(agent, 1.0)
    time.sleep(SETTLES_S)
    tell(what, *cost(agent, FLOOD_S), f"; its first second {onset[0]:.1%}")
    assert flood.running


def cost(agent: Agent, seconds: float) -> tuple[float, int, int]:
    """Return the share of one core that it takes, children included, and present and highest resident memory, bytes."""
    process = psutil.Process(agent.pid)
    before, began = sum(process.cpu_times()[:4]), time.monotonic()
    time.sleep(seconds)
    share = (sum(process.cpu_times()[:4]) - before) / (time.monotonic() - began)
    lines = Path(f"/proc/{agent.pid}/status").read_text().splitlines()
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if name[:2] == "Vm"}
    return share, kib["VmRSS"] * 1024, kib["VmHWM"] * 1024


def tell(what: str, share: float, resident: int, highest: int, more: str = "") -> None:
    load = Path("/proc/loadavg").read_text().split()[0]
    print(
        f"\n{what}: {share:.1%} of one core, {resident / 2**20:.0f} MiB resident, {highest / 2**20:.0f} at most{more}"
        f" (load average {load})",
        end="",
    )
