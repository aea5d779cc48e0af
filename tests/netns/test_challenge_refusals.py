"""The agent on hosts whose firewall refuses challenged clients: known before, or noticed during the attack."""

from __future__ import annotations

import time
from typing import Any, Final

import pytest

from tests.conftest import MakeLab
from tests.support.firewalls import NOT_SYN, table
from tests.support.lab.agent import Agent
from tests.support.lab.client_plan import steady
from tests.support.lab.flood_plan import anywhere, prefix
from tests.support.lab.lab import Lab
from tests.support.lab.programs import wait_for
from tests.support.lab.topology import Victim
from tests.support.protection import banned, besiege, flood_of, wait_for_attempts

pytestmark = pytest.mark.kernel

CONFIG: Final = '[challenge]\nenabled = "auto"\n'
HIDDEN: Final = "INPUT -p tcp --dport 80 -m state --state NEW -m length ! --length 60 -j DROP"
"""Lets in new connections by the length of their SYN, and refuses what a challenged client sends; not known before."""


def with_rule(make_lab: MakeLab, rule: str) -> Lab:
    lab = make_lab(Victim(backlog=128))
    lab.victim.run(["iptables-legacy-restore"], stdin=table("filter", rule))
    lab.serve()
    return lab


def condition(agent: Agent) -> str:
    """Return what the status says of challenges; empty where nothing."""
    found: list[dict[str, Any]] = agent.ask("status")["conditions"]
    return next((str(one["text"]) for one in found if one["code"] == "challenges-off"), "")


def test_where_a_rule_refuses_challenged_clients_the_agent_bans_as_before_and_says_why(make_lab: MakeLab) -> None:
    lab = with_rule(make_lab, NOT_SYN)
    agent = lab.agent(CONFIG)
    agent.start("--enforce")
    wait_for(
        lambda: NOT_SYN in condition(agent).replace("-m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN", "! --syn"), "why", 10
    )
    said = [one for one in agent.ask("doctor")["findings"] if one["name"] == "challenges"]
    assert [one["level"] for one in said] == ["warn"]
    assert said[0]["fix"].startswith("iptables-legacy -t filter -D INPUT -p tcp")
    siege = besiege(lab, flood_of(prefix("198.18.7.0/24"), pps=10_000))
    assert {one["action"] for one in banned(agent).values()} == {"drop"}
    assert siege.served_after.share >= 0.99, siege.served_after.outcomes()


def test_challenges_that_refuse_clients_end_within_moments_and_clients_are_served(make_lab: MakeLab) -> None:
    lab = with_rule(make_lab, HIDDEN)
    agent = lab.agent(CONFIG)
    agent.start("--enforce")
    wait_for(lambda: agent.status().challenges.works, "the survey of what stands in the way", every=0.1)
    plan = steady(clients=6000, rate=120, duration_s=50).model_copy(update={"timeout_s": 0.8})
    clients = lab.start_clients(plan)
    wait_for_attempts(clients, 0.0, 60)
    flood = lab.start_flood(flood_of(anywhere(4), pps=10_000))
    wait_for(lambda: "do not get in" in condition(agent), "that challenges stop", 15, every=0.1)
    ended = time.monotonic()
    wait_for_attempts(clients, ended + 1, 200)
    attempts = clients.attempts()
    refused = [one.at - flood.first_at for one in attempts.between(flood.first_at, ended).all if not one.ok]
    print(f"\nclients were refused from {min(refused):.2f} s to {max(refused):.2f} s after the flood began")
    assert attempts.between(ended + 1, time.monotonic()).share >= 0.99
    assert all(one["action"] != "challenge" for one in banned(agent).values())
    flood.stop()
