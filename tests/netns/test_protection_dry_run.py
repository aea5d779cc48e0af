"""Dry-run under real floods: it names whom enforcement bans, and changes nothing in the kernel."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from tests.support.lab.agent import Agent
from tests.support.lab.connection_plan import ConnectionPlan, attacker_sources
from tests.support.lab.lab import Lab
from tests.support.lab.programs import wait_for
from tests.support.lab.snapshot import differences, firewall_snapshot
from tests.support.protection import LONGEST_S, NO_CHALLENGES, SHAPES, attackers, banned, connects, flood_of

pytestmark = pytest.mark.kernel

FLUSHES = {
    "iptables": ("iptables-legacy -t raw -F", "ip6tables-legacy -t raw -F"),
    "nftables": ("nft flush table inet synguard",),
}


@pytest.mark.parametrize("plane", FLUSHES)
def test_bans_whose_rules_somebody_flushed_beside_a_dry_run_agent_are_called_not_in_kernel(
    lab: Lab, plane: str
) -> None:
    """Sets kept their members, so `bans`, `why` and `status` said banned and healthy while the source connected."""
    lab.serve()
    agent = lab.agent(f'plane = "{plane}"\n')
    agent.start()
    assert agent.verb("ban", "172.20.0.9").returncode == 0
    assert agent.ask("bans")[0]["in_kernel"] is True
    assert not connects(lab, "172.20.0.9")
    for command in FLUSHES[plane]:
        lab.victim.run(command.split())
    assert connects(lab, "172.20.0.9")
    assert agent.ask("bans")[0]["in_kernel"] is False
    assert "NOT IN KERNEL" in agent.verb("why", "172.20.0.9").stdout
    assert agent.verb("doctor").returncode == 1
    wait_for(lambda: any("NOT IN KERNEL" in one for one in agent.status().problems), "the problem in status")
    assert "NOT HEALTHY" in agent.verb("status").stdout
    assert agent.verb("ban", "172.20.0.9").returncode == 0
    assert not connects(lab, "172.20.0.9")
    wait_for(lambda: agent.status().healthy, "the problem to be gone")


GROUPS = [make(0) for make, _ in SHAPES.values()]
FLOODERS = attacker_sources(2, 4), attacker_sources(2, 6)
EXPECTED = set[str]().union(
    *(attackers(group) for group in GROUPS),
    FLOODERS[0],
    (str(ip_network(f"{one}/64", strict=False)) for one in FLOODERS[1]),
)


def test_a_dry_run_changes_nothing_in_the_kernel_and_names_whom_enforcement_bans(lab: Lab) -> None:
    """A single source, 128 sources, an IPv6 /64 and four holders of connections all at once, twice."""
    lab.serve()
    meter = lab.start_meter()
    before = kernel_of(lab)
    dry_run = lab.agent(NO_CHALLENGES, name="dry-run")
    dry_run.start("--dry-run")
    flood = lab.start_flood(flood_of(*GROUPS, pps=30_000))
    holders = [lab.start_connections(plan(sources)) for sources in FLOODERS]
    wait_for(lambda: named(dry_run) >= EXPECTED, "the dry-run to name them all", 30, every=0.3)
    assert kernel_of(lab) == before, differences(before, kernel_of(lab))
    assert named(dry_run) == EXPECTED
    assert all(ban["dry_run"] for ban in dry_run.ask("report")["bans"])
    assert dry_run.ask("report")["mode"] == "dry-run"
    assert meter.reach().share(flood.first_at, meter.reach().at[-1]) > 0.9
    dry_run.stop()
    assert kernel_of(lab) == before, "a dry-run that ends leaves something behind"

    enforcing = lab.agent(NO_CHALLENGES, name="enforcing")
    enforcing.start("--enforce")
    wait_for(lambda: banned(enforcing).keys() >= EXPECTED, "all bans", 30, every=0.3)
    assert flood.running
    assert all(one.running for one in holders)
    assert banned(enforcing).keys() == EXPECTED
    assert kernel_of(lab) != before, "the comparison sees nothing, so the first half of this test proves nothing"


def plan(sources: tuple[str, ...]) -> ConnectionPlan:
    return ConnectionPlan(sources=sources, each=1000, opens_per_second=1000, trickle_s=1, duration_s=LONGEST_S)


def named(agent: Agent) -> set[str]:
    return {ban["target"] for ban in agent.ask("report")["bans"]}


def kernel_of(lab: Lab) -> dict[str, str]:
    return firewall_snapshot(("ip", "netns", "exec", lab.victim.name))
