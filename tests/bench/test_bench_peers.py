"""What an operator is told in the same flood: netstat, ddos-deflate, CSF, fail2ban, CrowdSec and synguard side by side.

Every tool has a lab and a throw-away host of its own, and the same flood at the same time. Printed, for each: when it
first said something of an attack and what, who was banned, how many of them are innocent, which share of the clients
was served, and who takes the bans out again. Nothing here is asserted of other tools but that they were running; what
is not run here but written anew from a documentation is called re-enacted.
"""

from __future__ import annotations

import os
import platform
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.bench.contenders import CONTENDERS, LAYER, Contender, Crowdsec, Synguard
from tests.support.lab.client_plan import behind_nat, steady
from tests.support.lab.connection_plan import ConnectionPlan, attacker_sources
from tests.support.lab.flood_plan import FloodPlan, SourceGroup, anywhere, hosts, prefix
from tests.support.lab.lab import Clients, Lab
from tests.support.lab.programs import Program, wait_for
from tests.support.lab.topology import CLIENTS4, Victim
from tests.support.pages import ROOT
from tests.support.protection import scattered
from tests.support.sandbox import Sandbox

SHORT = bool(os.environ.get("SHORT"))
FLOOD_S = 10.0 if SHORT else 36.0
"""Longer than the slowest of them sleeps between two looks, but in the short form."""
PPS = 2_000.0
"""SYN/s at each of the hosts: seven of them are attacked at once by one machine."""
RATE = 20.0
LAST = 0.5
"""The share of the flood, at its end, in which clients are counted: what has an effect has it by then."""
PATIENCE_S = 3.0
"""Attempts that began later than this before the end may still be under way."""

pytestmark = [pytest.mark.kernel, pytest.mark.bench, pytest.mark.timeout(600)]


def syns(*groups: SourceGroup) -> Callable[[Lab], Program]:
    plan = FloodPlan(groups=groups, pps=PPS, duration_s=FLOOD_S + 60)
    return lambda lab: lab.start_flood(plan)


def connections(lab: Lab) -> Program:
    plan = ConnectionPlan(sources=attacker_sources(3), each=900, opens_per_second=1000, duration_s=FLOOD_S + 60)
    return lab.start_connections(plan)


def dispatcher(lab: Lab) -> Program:
    """No attack at all: an office of 200 behind one address, on a Monday morning."""
    return lab.start_clients(behind_nat(200, rate=60, duration_s=FLOOD_S + 60), "office")


FLOODS: dict[str, Callable[[Lab], Program]] = {
    "one loud source": syns(hosts("198.18.3.1")),
    "128 scattered sources": syns(hosts(*scattered(128))),
    "forged random sources": syns(anywhere(4)),
    "a /24": syns(prefix("198.18.7.0/24", distinct=128)),
    "three sources, 900 connections each": connections,
    "no attack: an office of 200 behind one address": dispatcher,
}
COOKIES_DO_NOT_MATTER = tuple(FLOODS)[-2:]
CASES = [(flood, cookies) for flood in FLOODS for cookies in (0, 1) if not (cookies and flood in COOKIES_DO_NOT_MATTER)]
if SHORT:
    CASES = CASES[:1]


@dataclass
class Watched:
    """One host under the flood and the tool that watches it."""

    tool: Contender
    lab: Lab
    clients: Clients
    flood: Program | None = None
    seen: dict[Path, int] = field(default_factory=dict)
    lines: list[tuple[float, str]] = field(default_factory=list)

    def look(self) -> None:
        """Note what the tool has written since the last look, and when it stood there."""
        for path in self.tool.files():
            text = path.read_text(errors="replace") if path.exists() else ""
            done = text[: text.rfind("\n") + 1]
            for line in done[self.seen.get(path, 0) :].splitlines():
                if told := self.tool.told(line.strip()):
                    self.lines.append((time.monotonic(), told))
            self.seen[path] = len(done)

    @property
    def began(self) -> float:
        """When the flood's first packet was sent, or the office's first client came."""
        assert self.flood is not None
        started = self.flood.wait_line("started")
        return float(started.get("first_at", started.get("at", 0.0)))

    @property
    def told(self) -> list[tuple[float, str]]:
        """What was said of the flood, and how many seconds after it began."""
        return [(at - self.began, text) for at, text in self.lines if at >= self.began]

    def served(self, until: float) -> str:
        """Return who was served towards the end: the office where it is about that."""
        who = self.flood if isinstance(self.flood, Clients) else self.clients
        attempts = who.attempts().between(until - LAST * FLOOD_S, until - PATIENCE_S)
        return f"{attempts.share:.0%} of {len(attempts)}"

    def innocent(self, target: str) -> bool:
        """Whether a ban hits the clients' site: nobody there does anything but ask for pages."""
        net = ip_network(target)
        return net.version == 4 and net.overlaps(CLIENTS4)


@contextmanager
def watched(kind: type[Contender], cookies: int) -> Iterator[Watched]:
    """Yield a host with nginx, clients and one tool."""
    with Lab(Victim(syncookies=cookies, backlog=128)) as lab:
        lab.serve()
        with Sandbox(lab.victim, lab.workdir / "host", LAYER if kind.layer else None) as box:
            tool = kind(box, lab.workdir)
            tool.start()
            clients = lab.start_clients(steady(40, rate=RATE, duration_s=FLOOD_S + 120))
            yield Watched(tool, lab, clients)


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    """The other tools are there: unpacked, not installed."""
    subprocess.run([str(ROOT / ".ci/unpack-peers"), str(LAYER)], check=True, timeout=300)
    versions = ", ".join((LAYER / ".versions").read_text().splitlines())
    print(f"\n{datetime.now(UTC):%Y-%m-%d}, Linux {platform.release()}; {versions}")


@pytest.mark.parametrize(("flood", "cookies"), CASES)
def test_what_each_tells_in_the_same_flood(flood: str, cookies: int) -> None:
    with ExitStack() as stack:
        sides = [stack.enter_context(watched(kind, cookies)) for kind in CONTENDERS]
        for one in sides:
            wait_for(one.tool.ready, f"{one.tool.name} to watch", 60, every=0.2)
        until = under_flood(sides, FLOODS[flood])
        print(f"\n## {flood}, SYN cookies {'on' if cookies else 'off'}\n")
        print("| tool | first told after | banned (innocent among them) | served, last | who ends a ban |")
        print("|---|---|---|---|---|")
        for one in sides:
            print(row(one, until))
        for one in sides:
            print(f"\n{one.tool.name}: {one.tool.how}")
            for at, text in one.told[:4]:
                print(f"  {at:5.1f} s  {text[:240]}")
            if isinstance(one.tool, Crowdsec):
                print(one.tool.parsed())
        mine = next(one for one in sides if isinstance(one.tool, Synguard))
        assert not [target for target in mine.tool.banned() if mine.innocent(target)]


def under_flood(sides: list[Watched], begin: Callable[[Lab], Program]) -> float:
    """Flood every host for the same time, and note what is said the moment it is; return when that time was over."""
    over = threading.Event()

    def listen() -> None:
        while not over.wait(0.05):
            for one in sides:
                one.look()

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        for one in sides:
            one.flood = begin(one.lab)
        time.sleep(FLOOD_S)
        until = time.monotonic()
        for one in sides:
            assert one.flood is not None
            assert one.flood.running, f"{one.tool.name}: its flood ended too soon"
        return until
    finally:
        over.set()
        listener.join()


def row(one: Watched, until: float) -> str:
    """Return the host's line of the table."""
    banned = one.tool.banned()
    innocents = [target for target in banned if one.innocent(target)]
    told = one.told
    when = f"{told[0][0]:.1f} s" if told else "never"
    some = f": {', '.join(sorted(banned)[:2])}{' …' if len(banned) > 2 else ''}" if banned else ""
    return (
        f"| {one.tool.name} | {when} | {len(banned)} ({len(innocents)}){some} | {one.served(until)}"
        f" | {one.tool.ended_by()} |"
    )
