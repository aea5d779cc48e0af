"""How exact, how fast and how costly the lab's own tools are, and what a flood does where no agent runs."""

from __future__ import annotations

import os
from typing import Literal

import numpy as np
import psutil
import pytest

from tests.conftest import MakeLab
from tests.support.lab.attempts import Attempts
from tests.support.lab.client_plan import steady
from tests.support.lab.flood_plan import FloodPlan, SourceGroup, anywhere, hosts, prefix
from tests.support.lab.lab import Lab
from tests.support.lab.programs import wait_for
from tests.support.lab.topology import Victim

pytestmark = [pytest.mark.kernel, pytest.mark.bench]

SECONDS = 1.5 if os.environ.get("SHORT") else 4.0


@pytest.mark.parametrize("cookies", [0, 1])
def test_pacing_of_the_generator(make_lab: MakeLab, cookies: int) -> None:
    lab = make_lab(Victim(syncookies=cookies, backlog=128))
    lab.serve()
    meter = lab.start_meter()
    print(f"\ntcp_syncookies={cookies}; offered as a share of asked, CPU of the whole path as a share of one core")
    for pps in (1_000, 10_000, 50_000, 100_000, 400_000):
        flood = lab.start_flood(FloodPlan(groups=(anywhere(4),), pps=pps, duration_s=SECONDS))
        report, reach = flood.report(), meter.reach()
        starts = np.arange(flood.first_at + 0.1, flood.first_at + SECONDS - 0.2, 0.1)
        windows = np.array([reach.offered_pps(start, start + 0.1) for start in starts]) / pps
        got = report["sent"] / (report["last_at"] - report["first_at"])
        print(
            f"asked {pps:>7}: {got / pps:.4f} ({got:.0f}/s), 100 ms windows {windows.min():.3f} to {windows.max():.3f},"
            f" CPU {report['cpu_s'] / SECONDS:.2f}"
        )


def test_cost_of_the_clients(make_lab: MakeLab) -> None:
    lab = make_lab(Victim())
    lab.serve()
    for rate in (40, 200, 400):
        print(f"\n{rate:>4} new connections a second: {cost_of_clients(lab, rate)}", end="")
    print()


def cost_of_clients(lab: Lab, rate: float) -> str:
    clients = lab.start_clients(steady(clients=100, rate=rate, duration_s=SECONDS))
    process = psutil.Process(clients.process.pid)
    wait_for(lambda: len(clients.attempts()) > 20, "clients to be under way")
    before, made_before = process.cpu_times(), len(clients.attempts())
    wait_for(lambda: len(clients.attempts()) > 0.8 * rate * SECONDS, "most attempts")
    after, made_after = process.cpu_times(), len(clients.attempts())
    clients.wait(timeout=20)
    cpu_s = (after.user + after.system - before.user - before.system) / (made_after - made_before)
    return f"{cpu_s * 1e3:.2f} ms CPU an attempt, connect p99 {clients.attempts().connect_ms(99):.2f} ms"


@pytest.mark.parametrize("cookies", [0, 1])
def test_baseline_without_the_agent(make_lab: MakeLab, cookies: int) -> None:
    print(f"\ntcp_syncookies={cookies}, backlog 128, 10,000 SYN/s: share of clients of the same family that are served")
    floods: dict[str, tuple[SourceGroup, Literal[4, 6]]] = {
        "random IPv4": (anywhere(4), 4),
        "one source": (hosts("198.18.0.1"), 4),
        "128 of a /24": (prefix("198.18.0.0/24", 128), 4),
        "random IPv6": (anywhere(6), 6),
        "one /64": (prefix("2001:db8:bad:1::/64"), 6),
    }
    for name, (group, version) in floods.items():
        attempts = attempts_under(make_lab(Victim(syncookies=cookies, backlog=128)), group, version)
        print(f"{name:>14}: {attempts.share:.1%} of {len(attempts)}, connect {attempts.connect_ms():.1f} ms")


def attempts_under(lab: Lab, group: SourceGroup, version: Literal[4, 6]) -> Attempts:
    lab.serve()
    meter = lab.start_meter()
    flood = lab.start_flood(FloodPlan(groups=(group,), pps=10_000, duration_s=60))
    wait_for(lambda: meter.reach().reached[-1] > 3000, "the queue to be full")
    clients = lab.start_clients(steady(rate=50, duration_s=SECONDS, version=version))
    clients.wait(timeout=30)
    flood.stop()
    meter.stop()
    return clients.attempts()
