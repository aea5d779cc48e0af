"""What one attack packet costs with the challenge program, beside the bare host; prints figures, asserts no times.

The generator's CPU time is the price of the whole path. Taken off all of them is the price of bringing a packet to the
victim's ingress, where a filter drops it at once. What the peer does with answers is not the victim's cost either: its
interface drops them. The long form shows also what comes of it if the peer's stack takes them in and finds no route.
All hosts stand at the same time and take turns, so that what else the machine does meets them alike, and the cheapest
turn of each counts: neighbours only ever add.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

import psutil
import pytest

from synguard.enforcer.challenge.counts import SynCounts
from synguard.syn_header import SynHeader
from tests.support.challenge import COOKIES, Challenge, challenge, header_drop, limit
from tests.support.lab.agent import Agent
from tests.support.lab.flood_plan import FASTEST_PPS, FloodPlan, SourceGroup, anywhere, hosts, prefix
from tests.support.lab.lab import Lab
from tests.support.lab.topology import UPLINK, Victim

pytestmark = [pytest.mark.kernel, pytest.mark.bench, pytest.mark.timeout(600)]

SHORT = bool(os.environ.get("SHORT"))
ROUNDS = 5 if SHORT else 12
PACKETS = 20_000
DROP_ALL = ["pref", "7", "bpf", "da", "bytecode", "1,6 0 0 2"]
ALL4, ALL6 = challenge("all4", "0.0.0.0/0", 80), challenge("all6", "::/0", 80)
PROVEN = "198.18.7.9"
AT_INGRESS, BARE = "dropped at the ingress", "bare host, cookies"


def drop_at(lab: Lab, *, router: bool) -> None:
    host, interface = (lab.router, "victim0") if router else (lab.victim, UPLINK)
    host.run(["tc", "qdisc", "add", "dev", interface, "clsact"])
    host.run(["tc", "filter", "add", "dev", interface, "ingress", "protocol", "all", *DROP_ALL])


def bare(lab: Lab) -> None:
    lab.victim.sysctl(COOKIES)


def counting(lab: Lab) -> Challenge:
    """Return the program as it works for an agent: it counts sources too."""
    held = Challenge(lab)
    held.thread.call(SynCounts(held.program.maps).count, 600.0, 1)
    return held


def challenged(lab: Lab) -> None:
    counting(lab).hold(ALL4, ALL6)


def proven(lab: Lab) -> None:
    counting(lab).hold(ALL4, ALL6, proven=(PROVEN,))


def limited(target: str) -> Callable[[Lab], None]:
    return lambda lab: counting(lab).hold(limit("target", target, 80))


def by_header(lab: Lab) -> None:
    header = SynHeader(ttl=(1, 255), window=64240, mss=1460, options=linux_options(), length=60)
    counting(lab).hold(header_drop("tool", "0.0.0.0/0", header, 80))


def guarded(lab: Lab) -> Agent:
    """Start the agent and have it challenge everybody before anything is measured."""
    agent = lab.agent('[challenge]\nenabled = "auto"\n')
    agent.start("--enforce")
    flood = lab.start_flood(FloodPlan(groups=(anywhere(4),), pps=15_000, duration_s=3.0))
    flood.report()
    return agent


def linux_options() -> int:
    """Return the number for MSS 1460, SACK, timestamps, padding and window scale 7."""
    number = 2_166_136_261
    for item in (2 | 0x05 << 8 | 0xB4 << 16, 4, 8, 1, 3 | 7 << 8):
        number = (number ^ item) * 16_777_619 & 0xFFFF_FFFF
    return number


@dataclass
class Case:
    name: str
    prepare: Callable[[Lab], Agent | None]
    sources: SourceGroup
    costs: list[float] = field(default_factory=list)
    agents: list[float] = field(default_factory=list)

    def flood(self, lab: Lab, agent: Agent | None) -> None:
        """Send a burst as fast as one core can and note what a packet of it cost, the agent's part apart."""
        before, began = used(agent), time.monotonic()
        plan = FloodPlan(groups=(self.sources,), pps=FASTEST_PPS, duration_s=5.0, count=PACKETS, cpu=1)
        self.costs.append(float(lab.start_flood(plan).report()["packet_ns"]))
        self.agents.append((used(agent) - before) / (time.monotonic() - began))


def used(agent: Agent | None) -> float:
    return sum(psutil.Process(agent.pid).cpu_times()[:4]) if agent else 0.0


def ingress(lab: Lab) -> None:
    drop_at(lab, router=False)


def cases() -> list[Case]:
    return [
        Case(AT_INGRESS, ingress, anywhere(4)),
        Case(AT_INGRESS, ingress, anywhere(6)),
        Case(BARE, bare, anywhere(4)),
        Case(BARE, bare, anywhere(6)),
        Case("everybody challenged", challenged, anywhere(4)),
        Case("everybody challenged", challenged, anywhere(6)),
        Case("random flood, the agent", guarded, anywhere(4)),
        Case("dropped by header", by_header, anywhere(4)),
        Case("one source, limited", limited("198.18.7.9"), hosts("198.18.7.9")),
        Case("a /24, limited", limited("198.18.7.0/24"), prefix("198.18.7.0/24")),
        Case("a /16, limited", limited("198.18.0.0/16"), prefix("198.18.0.0/16")),
        Case("a proven host floods", proven, hosts(PROVEN)),
    ]


@pytest.mark.parametrize("answers", ["dropped"] if SHORT else ["dropped", "routed"])
def test_cost_of_an_attack_packet_beside_the_bare_host(answers: str) -> None:
    measured = [case for case in cases() if not (SHORT and case.sources.version == 6)]
    with ExitStack() as stack:
        stands: list[tuple[Case, Lab, Agent | None]] = []
        for case in measured:
            lab = stack.enter_context(Lab(Victim(backlog=128)))
            lab.serve()
            agent = case.prepare(lab)
            if answers == "dropped":
                drop_at(lab, router=True)
            stands.append((case, lab, agent))
        for _ in range(ROUNDS):
            for case, lab, agent in stands:
                case.flood(lab, agent)
    base, listener = (
        {case.sources.version: min(case.costs) for case in measured if case.name == name} for name in (AT_INGRESS, BARE)
    )
    print(f"\nanswers are {answers} by the peer")
    for case in measured:
        version = case.sources.version
        above = min(case.costs) - base[version]
        agents = f"; the agent {median(case.agents):.1%} of a core" if any(case.agents) else ""
        ratio = above / (listener[version] - base[version])
        print(f"IPv{version}, {case.name:24} {above:7,.0f} ns above the ingress, {ratio:5.2f} of the bare host{agents}")
