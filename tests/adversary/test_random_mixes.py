"""Random mixes of attackers on a guarded host with real packets: ``make adversary``.

An hour with the search in memory (tests/property/test_adversary.py); ``ADVERSARY=10m`` for less, ``SHORT=1`` for CI.
``ADVERSARY_SEED`` plays the same mixes again.
"""

from __future__ import annotations

import os
import random
import time
from typing import Final

import pytest

from synguard.units import parse_duration
from tests.support.lab.agent import Agent
from tests.support.lab.connection_plan import ConnectionPlan, attacker_sources
from tests.support.lab.flood_plan import SourceGroup, anywhere, hosts, prefix
from tests.support.lab.lab import Lab
from tests.support.lab.programs import wait_for
from tests.support.protection import LONGEST_S, banned, crowd, flood_of, scattered, wait_for_attempts

SHORT: Final = bool(os.environ.get("SHORT"))
TOTAL_S: Final = parse_duration(os.environ.get("ADVERSARY") or ("25s" if SHORT else "35m"))
SEED: Final = int(os.environ.get("ADVERSARY_SEED") or ("1" if SHORT else random.randrange(1 << 32)))
ROUND_S: Final = 6.0
LEAST_SERVED: Final = 0.95
"""Share of the attempts of served clients that must get through in a round; a host alone loses some at an onset too."""

pytestmark = [pytest.mark.adversary, pytest.mark.kernel, pytest.mark.timeout(TOTAL_S * 3 + 300)]


def drawn(chance: random.Random, nth: int) -> SourceGroup:
    """Return the sources of one SYN flood: real hosts, forged networks, or everywhere."""
    return chance.choice(
        (
            lambda: hosts(f"198.18.{nth % 250}.{chance.randint(1, 250)}"),
            lambda: hosts(*scattered(chance.randint(2, 200), 200 * nth)),
            lambda: prefix(f"198.19.{nth % 250}.0/24", distinct=chance.randint(8, 250)),
            lambda: prefix(f"2001:db8:bad:{nth + 1:x}::/64"),
            lambda: prefix(f"2001:db8:{nth + 0x100:x}::/48", distinct=chance.randint(16, 4000)),
            lambda: anywhere(4),
        )
    )()


def play(lab: Lab, agent: Agent, chance: random.Random, nth: int) -> tuple[str, float]:
    """Play one mix; return what it was, and the share of attempts of served clients that got through."""
    groups = [drawn(chance, 10 * nth + i) for i in range(chance.randint(1, 3))]
    pps = chance.choice((200.0, 2000.0, 8000.0))
    clients = lab.start_clients(crowd(rate=30.0))
    wait_for_attempts(clients, 0.0, 40)
    flood = lab.start_flood(flood_of(*groups, pps=pps))
    holders = attacker_sources(chance.randint(1, 3)) if chance.random() < 0.5 else ()
    plan = ConnectionPlan(sources=holders, each=1000, opens_per_second=1500, duration_s=LONGEST_S) if holders else None
    connections = lab.start_connections(plan) if plan is not None else None
    began, told = flood.first_at, f"{len(groups)} floods of {pps:.0f} SYN/s together, {len(holders)} holders"
    if holders:
        wait_for(lambda: set(holders) <= banned(agent).keys(), "every holder of 1,000 connections to be banned", 30.0)
    wait_for(lambda: time.monotonic() >= began + ROUND_S, "the round to end", 2 * ROUND_S, every=0.1)
    until = time.monotonic()
    for program in (flood, connections, clients):
        if program is not None:
            program.stop()
    return told, clients.attempts().between(began, until).share


def test_served_clients_get_through_whoever_attacks(lab: Lab) -> None:
    print(f"\nADVERSARY_SEED={SEED}")
    chance = random.Random(SEED)
    lab.serve()
    agent = lab.agent()
    agent.start("--enforce")
    ends, nth = time.monotonic() + TOTAL_S, 0
    while time.monotonic() < ends:
        told, share = play(lab, agent, chance, nth)
        print(f"{nth + 1}: {told}: {share:.1%} of the attempts of served clients got through")
        assert share >= LEAST_SERVED, f"mix {nth + 1} of ADVERSARY_SEED={SEED}"
        agent.ask("unban", "--all", "--yes")
        nth += 1
