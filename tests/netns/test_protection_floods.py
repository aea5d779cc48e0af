"""SYN floods from real and forged sources on a guarded victim: who is banned, who gets through."""

from __future__ import annotations

import pytest

from tests.conftest import MakeLab
from tests.support.lab.agent import Agent
from tests.support.lab.client_plan import client_sources, persistent, steady
from tests.support.lab.flood_plan import anywhere, hosts
from tests.support.lab.lab import Lab
from tests.support.lab.programs import wait_for
from tests.support.lab.topology import Victim
from tests.support.protection import (
    NO_CHALLENGES,
    SHAPES,
    attackers,
    banned,
    besiege,
    finished,
    flood_of,
    half_open,
    wait_for_attempts,
)

pytestmark = pytest.mark.kernel

FRAIL = Victim(syncookies=0, backlog=128)
"""Where, without the agent, none of the new clients is served (``tests/bench/test_bench_lab.py``)."""
USUAL = Victim()


@pytest.mark.parametrize("tuning", [FRAIL, USUAL], ids=["no cookies, backlog 128", "cookies, usual backlog"])
def test_floods_of_few_sources_are_stopped_while_they_go_on_and_clients_are_served(
    make_lab: MakeLab, tuning: Victim
) -> None:
    """By bans alone: SYN cookies stay as they are, and half-open sockets that the flood left go with the ban."""
    lab = make_lab(tuning)
    lab.serve()
    agent = lab.agent('countermeasure.syn_cookies = "never"\n')
    agent.start("--enforce")
    expected: set[str] = set()
    for name, (group, version) in SHAPES.items():
        siege = besiege(lab, flood_of(group(0)), version)
        expected |= attackers(group(0))
        assert siege.reached_after < 0.1, name
        assert siege.reach.offered_pps(siege.relieved_at, siege.until) > 9_000, name
        assert len(siege.served_after) >= 100, name
        assert siege.served_after.share >= 0.99, f"{name}: {siege.served_after.outcomes()}"
        assert half_open(lab.victim) < 64, f"{name}: the queue is left full"
        bans = banned(agent)
        assert bans.keys() == expected, name
    assert {ban["scope"] for ban in bans.values()} == {"new"}
    assert {tuple(ban["ports"]) for ban in bans.values()} == {(80,)}
    assert all(ban["in_kernel"] and ban["packets"] for ban in bans.values())


def test_a_flood_of_random_sources_bans_nobody_and_is_called_spoofed_and_clients_are_served(lab: Lab) -> None:
    lab.serve()
    agent = lab.agent(NO_CHALLENGES)
    agent.start("--enforce")
    meter, clients = lab.start_meter(), lab.start_clients(steady(duration_s=60))
    flood = lab.start_flood(flood_of(anywhere(4)))
    wait_for(lambda: agent.ask("status")["verdict"].startswith("spoofed: "), "the verdict", every=0.2)
    wait_for_attempts(clients, flood.first_at)
    during = agent.ask("status")
    siege = finished(meter, clients, flood, None)
    assert siege.served_during.share == 1.0, siege.served_during.outcomes()
    assert siege.reach.reached_pps(siege.first_at, siege.until) > 9_000  # nothing was stopped: that is the point
    assert banned(agent) == {}
    assert during["incidents"][0]["kind"] == "spoofed-flood"
    assert not [one for one in during["targets"] if one["kind"] == "ban"]
    report = agent.ask("report")
    assert report["bans"] == []
    assert [one["kind"] for one in report["spoofed"]] == ["spoofed"]
    assert report["incidents"][0]["kind"] == "spoofed-flood"
    text = agent.verb("report").stdout
    assert "A flood came from forged addresses" in text
    assert "spoofed: about" in text


@pytest.mark.parametrize("cookies", [1, 0])
def test_forging_the_addresses_of_served_clients_bans_none_of_them(make_lab: MakeLab, cookies: int) -> None:
    """Their firewall swallows the SYN-ACKs that they did not ask for, so that no RST of theirs clears anything up."""
    lab = make_lab(Victim(syncookies=cookies), client_firewall=True)
    lab.serve()
    agent = lab.agent('countermeasure.syn_cookies = "never"\n')
    agent.start("--enforce")
    victims = client_sources(20)
    newcomers = lab.start_clients(steady(clients=20, duration_s=120))
    regulars = lab.start_clients(persistent(clients=20, duration_s=120, sources=victims))
    wait_for(lambda: agent.status().proven_peers >= len(victims), "the clients to be known as served")
    meter, flood = lab.start_meter(), lab.start_flood(flood_of(hosts(*victims)))
    wait_for(lambda: spared(agent) >= set(victims), "all of them to be spared", every=0.2)
    wait_for_attempts(newcomers, flood.first_at, 120 if cookies else 20)
    reason = agent.verb("why", victims[0]).stdout
    regulars.stop()
    siege = finished(meter, newcomers, flood, None)
    assert banned(agent) == {}
    assert agent.ask("report")["bans"] == []
    assert "verdict spare" in reason
    assert "proven: completed a handshake" in reason
    assert regulars.attempts().between(siege.first_at, siege.until).share == 1.0
    if cookies:
        assert siege.served_during.share >= 0.99, siege.served_during.outcomes()


def spared(agent: Agent) -> set[str]:
    return {one["target"] for one in agent.ask("report")["spared"]}
