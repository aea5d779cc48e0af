"""A container behind the guarded victim: found, read, protected; covered from outside where it may not be entered."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Final

import pytest

from tests.conftest import MakeLab
from tests.support.lab.agent import Agent
from tests.support.lab.client_plan import ClientPlan, persistent
from tests.support.lab.connection_plan import ConnectionPlan, attacker_sources
from tests.support.lab.container import GATEWAY4, INNER, INNER4, PUBLISHED, Container
from tests.support.lab.flood_plan import FloodPlan, SourceGroup, hosts
from tests.support.lab.lab import Lab
from tests.support.lab.programs import wait_for
from tests.support.lab.topology import Victim
from tests.support.protection import (
    LONGEST_S,
    SHAPES,
    Siege,
    attackers,
    banned,
    crowd,
    finished,
    flood_of,
    half_open,
    scattered,
    wait_for_attempts,
    wait_for_bans,
    wait_for_relief,
)

pytestmark = pytest.mark.kernel

FRAIL = Victim(syncookies=0, backlog=128)
"""How the container is tuned: without the agent hardly a new client gets in during a flood."""


def to_published_port() -> ClientPlan:
    """Clients of the published port."""
    plan: ClientPlan = crowd()
    return plan.model_copy(update={"port": PUBLISHED})


def on_published_port(group: SourceGroup) -> FloodPlan:
    """Return a flood of the published port."""
    return flood_of(group).model_copy(update={"ports": (PUBLISHED,)})


def besiege(lab: Lab, container: Container, group: SourceGroup) -> Siege:
    """Flood the container through its published port until clients have come in numbers after relief."""
    meter, clients = container.start_meter(), lab.start_clients(to_published_port())
    wait_for_attempts(clients, 0.0, 10)
    flood = lab.start_flood(on_published_port(group))
    relief_s = wait_for_relief(meter, flood)
    wait_for_attempts(clients, flood.first_at + relief_s)
    return finished(meter, clients, flood, relief_s)


def reads(agent: Agent, container: Container) -> bool:
    return container.namespace.name in agent.status().sensors["containers"].detail


@pytest.mark.parametrize("nat", ["iptables-legacy", "nft"])
def test_floods_through_a_published_port_are_stopped_and_clients_of_the_container_are_served(
    make_lab: MakeLab, nat: str
) -> None:
    lab = make_lab()
    with Container(lab, FRAIL, nat) as container:
        container.serve()
        agent = lab.agent()
        agent.start("--enforce")
        wait_for(lambda: reads(agent, container), "the container to be read")
        expected: set[str] = set()
        for name in ("one source", "128 sources"):
            group = SHAPES[name][0](0)
            expected |= attackers(group)
            siege = besiege(lab, container, group)
            assert siege.reached_after < 0.1, name
            assert siege.served_after.share >= 0.99, f"{name}: {siege.served_after.outcomes()}"
            assert half_open(container.namespace) < 64, f"{name}: the queue is left full"
            assert banned(agent).keys() == expected, name
        bans = banned(agent)
        assert {(ban["scope"], tuple(ban["ports"])) for ban in bans.values()} == {("new", (PUBLISHED,))}
        assert all(ban["in_kernel"] and ban["packets"] for ban in bans.values())
        pressure = [one for one in agent.ask("status")["pressure"] if one["namespace"]]
        assert {one["port"] for one in pressure} >= {PUBLISHED}


def test_sources_that_hold_too_many_connections_to_a_container_are_cut_off(make_lab: MakeLab) -> None:
    lab = make_lab()
    with Container(lab) as container:
        container.serve()
        agent = lab.agent()
        agent.start("--enforce")
        wait_for(lambda: reads(agent, container), "the container to be read")
        meter, clients = container.start_meter(), lab.start_clients(to_published_port())
        sources = attacker_sources(3)
        plan = ConnectionPlan(
            sources=sources, each=1000, opens_per_second=1500, trickle_s=1, duration_s=LONGEST_S, port=PUBLISHED
        )
        flood = lab.start_connections(plan)
        wait_for(lambda: flood.answered() == dict.fromkeys(sources, True), "every attacker to be answered once")
        bans = wait_for_bans(agent, sources)
        wait_for(lambda: not any(flood.answered().values()), "the last answer to a banned one")
        silent_at = time.monotonic()
        wait_for_attempts(clients, silent_at)
        offered = meter.reach().offered
        wait_for(lambda: meter.reach().offered[-1] > offered[-1] + 100, "the attackers to be heard of again", every=0.1)
        until = time.monotonic()
        clients.stop()
        assert flood.running
        assert bans.keys() == set(sources)
        assert {(ban["scope"], tuple(ban["ports"])) for ban in bans.values()} == {("all", ())}
        assert meter.reach().share(silent_at, until) < 0.01
        assert clients.attempts().between(flood.first_at, until).share >= 0.99


def test_the_coverage_map_names_a_listener_in_a_container_its_published_port_and_its_chains(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.serve()
    with Container(lab) as container:
        container.serve()
        clients = lab.start_clients(persistent(duration_s=60).model_copy(update={"port": PUBLISHED}))
        wait_for_attempts(clients, 0.0, 10)
        seen = doctor(lab.agent())
        clients.stop()
    rows = {(row["namespace"], row["port"]): row for row in seen["coverage"] if row["address"] == "0.0.0.0"}
    assert rows["", 80]["chains"] == "raw/PREROUTING, filter/INPUT"
    inner = rows[container.namespace.name, INNER]
    assert inner["published"] == [PUBLISHED]
    assert inner["chains"] == "raw/PREROUTING, filter/FORWARD"
    assert inner["protected"] == "yes"
    assert inner["process"].startswith("nginx[")
    others = {row["namespace"] for row in seen["coverage"]} - {"", container.namespace.name}
    assert others == set(), "namespaces that are not behind the victim were taken for containers"


@pytest.mark.parametrize("count", [1, 64])
def test_an_agent_that_may_not_enter_the_container_protects_it_by_sampled_syns_and_says_so(
    make_lab: MakeLab, count: int
) -> None:
    """How full the container's queue is stays unknown, so limits are not lowered: a source below 100/s is not seen."""
    lab = make_lab()
    with Container(lab) as container:
        container.serve()
        agent = lab.agent()
        agent.start("--enforce", wrapper=WITHOUT_RIGHTS)
        group = hosts(*scattered(count))
        siege = besiege(lab, container, group)
        assert siege.reached_after < 0.1
        assert siege.served_after.share >= 0.99, siege.served_after.outcomes()
        bans = banned(agent)
        assert bans.keys() == attackers(group)
        assert {(ban["scope"], tuple(ban["ports"])) for ban in bans.values()} == {("new", (PUBLISHED,))}
        sensor = agent.status().sensors["containers"]
        assert sensor.ok
        assert "covered by sampled SYNs alone" in sensor.detail
        assert "CAP_SYS_ADMIN" in sensor.detail
        finding = next(one for one in doctor(agent, wrapper=WITHOUT_RIGHTS)["findings"] if one["name"] == "containers")
        assert finding["level"] == "warn"
        assert "CAP_SYS_ADMIN" in finding["reason"]


def test_a_container_that_goes_away_is_let_go_and_its_successor_is_read(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.serve()
    agent = lab.agent()
    agent.start("--enforce")
    with Container(lab) as container:
        container.serve()
        wait_for(lambda: reads(agent, container), "the container to be read", timeout=30)
        ticks = agent.status().last_reading_at
    wait_for(lambda: not reads(agent, container), "the container to be let go")
    wait_for(lambda: "inner0" not in lab.victim.run(["ip", "-br", "link"]), "its interface to be gone")
    wait_for(lambda: (agent.status().last_reading_at or ticks) > ticks, "another reading")
    assert agent.status().healthy
    assert "ERROR" not in agent.program.stderr, agent.program.stderr
    lab.victim.ip(["link del br0"])
    with Container(lab) as again:
        wait_for(lambda: reads(agent, again), "its successor to be read", timeout=30)


def test_a_container_that_serves_is_this_hosts_own_and_what_it_sends_out_never_bans_it(make_lab: MakeLab) -> None:
    """A crawler in it opens many connections to the host."""
    lab = make_lab()
    with Container(lab) as container:
        container.serve()
        agent = lab.agent()
        for target in (INNER4, GATEWAY4):
            refused = agent.verb("ban", target)
            assert refused.returncode == 3, refused.stdout


HOLDS: Final = """
import socket, sys, time
held = [socket.create_connection((sys.argv[1], 80), 5) for _ in range(700)]
print('{"event": "held"}', flush=True)
time.sleep(60)
"""


def test_a_container_that_only_connects_is_never_cut_off_and_is_named_as_the_load(make_lab: MakeLab) -> None:
    """It has no listener, opened 700 connections to a port of the host, and was cut off from the world."""
    lab = make_lab(Victim(backlog=1024))
    lab.serve()
    with Container(lab) as container:
        agent = lab.agent()
        agent.start("--enforce")
        wait_for(lambda: reads(agent, container), "the container to be read", timeout=30)
        lab.start(container.namespace, [sys.executable, "-c", HOLDS, GATEWAY4], "holds").wait_line("held", 30)

        def reason() -> str:
            return next((one.reason for one in agent.status().targets if one.target == INNER4), "")

        wait_for(lambda: "never cut off: the load comes from there" in reason(), "the container to be named")
        held = ["ss", "-Htn", "state", "established", "sport", "=", ":80"]
        wait_for(lambda: len(lab.victim.run(held).splitlines()) <= 400, "what it holds beyond its limit to be closed")
        assert banned(agent) == {}
        probe = "import socket, sys; socket.create_connection((sys.argv[1], 80), 5)"
        container.namespace.run([sys.executable, "-c", probe, GATEWAY4])


WITHOUT_RIGHTS: Final = ("setpriv", "--bounding-set", "-sys_admin,-sys_ptrace", "--inh-caps", "-sys_admin,-sys_ptrace")


def doctor(agent: Agent, wrapper: tuple[str, ...] = ()) -> Any:
    """Return what the doctor says, whether or not it finds something bad."""
    return json.loads(agent.verb("doctor", "--json", wrapper=wrapper).stdout)
