"""Many decisions at once: how soon the kernel holds them, beside ``ipset restore``, and what ticks pay meanwhile.

Prints only. The server here gives a list as CrowdSec writes it, at the moment that the bench chooses.
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Final

import psutil
import pytest

from synguard.fleet.decisions import parse_stream
from synguard.ledger import LEDGER_FILE
from synguard.model import Action, Ban, Origin, Scope
from synguard.status.model import AgentStatus
from tests.bench.test_bench_planes import raw_ipset
from tests.support.lab.agent import Agent
from tests.support.lab.decision_stream import Answers, many, serve
from tests.support.lab.lab import Lab
from tests.support.lab.programs import wait_for
from tests.support.network_thread import NetworkThread

pytestmark = [pytest.mark.bench, pytest.mark.kernel, pytest.mark.timeout(600)]

SHORT: Final = bool(os.environ.get("SHORT"))
DECISIONS: Final = 10_000 if SHORT else 50_000
USUAL_S: Final = 5.0 if SHORT else 15.0


def members(there: NetworkThread) -> int:
    """Return how many members the kernel's sets hold."""
    listed = there.call(subprocess.check_output, ["ipset", "list", "-t", "synguard-all-drop-4"], text=True)
    return int(str(listed).rpartition("entries:")[2])


def cpu_of_follower(agent: Agent) -> float:
    """Return the CPU seconds that the process which follows decisions has taken, with what it started."""
    [follower] = [one for one in psutil.Process(agent.pid).children() if "synguard.fleet.following" in one.cmdline()]
    return sum(follower.cpu_times()[:4])


def cpu_of_tool(bans: dict[str, Ban]) -> tuple[float, float]:
    """Return the seconds of ``ipset restore`` in a namespace of its own, and its CPU seconds."""
    there = NetworkThread()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = there.call(raw_ipset, bans)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    there.close()
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def worst(agent: Agent, until: Callable[[], bool]) -> tuple[float, float]:
    """Return the longest tick and the latest one, in milliseconds, until something is so."""
    seen: list[AgentStatus] = []
    while not until():
        status = agent.status().agent
        assert status is not None
        seen.append(status)
        time.sleep(0.05)
    return max(one.tick_ms_max for one in seen), max(one.late_ms_max for one in seen)


def in_kernel_after(there: NetworkThread, server: Answers, agent: Agent) -> tuple[float, float]:
    """Return the seconds from the answer until the kernel holds it, and the follower's CPU seconds until then."""
    before = cpu_of_follower(agent)
    wait_for(lambda: members(there) >= DECISIONS, "the kernel to hold every decision", 300, every=0.03)
    return time.monotonic() - server.sent_at, cpu_of_follower(agent) - before


def test_many_decisions_at_once(lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = many(DECISIONS)
    there = NetworkThread(lab.victim)
    now = datetime.now(UTC)
    bans = {
        str(n): Ban(
            id=str(n),
            target=ip_network(one.target),
            scope=Scope.ALL,
            action=Action.DROP,
            origin=Origin.CROWDSEC,
            policy="crowdsec",
            reason="",
            created_at=now,
            expires_at=datetime.fromtimestamp(one.ends_at, UTC),
        )
        for n, one in enumerate(parse_stream(body, now).new)
    }
    assert len(bans) == DECISIONS
    tool = [cpu_of_tool(bans)]
    server = there.call(serve)
    lab.serve()
    config = '[crowdsec]\nurl = "http://127.0.0.1:8080"\napi_key = "bench"\npoll = "1s"\n'
    agent = lab.agent(f'plane = "iptables"\n{config}')
    agent.start("--enforce")
    try:
        ends = time.monotonic() + USUAL_S
        usual = worst(agent, lambda: time.monotonic() > ends)
        waiter = NetworkThread(lab.victim)
        done = waiter._pool.submit(in_kernel_after, waiter_there := NetworkThread(lab.victim), server, agent)
        server.next = body
        during = worst(agent, done.done)
        took, cpu = done.result()
        for one in (waiter, waiter_there):
            one.close()
        after = worst(agent, lambda: agent.status().bans_active == DECISIONS)
        taken_over = time.monotonic() - server.sent_at
        size = (agent.state_dir / LEDGER_FILE).stat().st_size
    finally:
        server.shutdown()
        there.close()
    tool.append(cpu_of_tool(bans))  # a busy machine is as busy on either side
    base, base_cpu = (sum(one) / 2 for one in zip(*tool, strict=True))
    with capsys.disabled():
        print(
            f"\n{DECISIONS} decisions, {len(body) / 1e6:.1f} MB: in the kernel after {took:.2f} s, "
            f"{took / base:.1f} x ipset restore of the same ({base:.2f} s); CPU until then {cpu:.2f} s, "
            f"{cpu / base_cpu:.1f} x ({base_cpu:.2f} s); "
            f"taken over by the agent after {taken_over:.0f} s; ledger {size / 1e6:.0f} MB\n"
            f"{'':10}{'longest tick':>14}{'latest tick':>14}"
        )
        for name, (longest, latest) in {"before": usual, "meanwhile": during, "after": after}.items():
            print(f"{name:10}{longest:>11.1f} ms{latest:>11.1f} ms")
