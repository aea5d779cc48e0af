"""Thousands of decisions at once on a real host: in the kernel beside the agent, and the agent agrees afterwards."""

from __future__ import annotations

import pytest

from tests.support.lab.decision_stream import many, serve
from tests.support.lab.lab import Lab
from tests.support.lab.programs import wait_for
from tests.support.network_thread import NetworkThread

pytestmark = pytest.mark.kernel

MANY = 3_000
ALLOWED, BANNED = "198.51.100.7", "203.0.113.9"
LISTS = {"iptables": "ipset save", "nftables": "nft list table inet synguard"}


@pytest.mark.parametrize("plane", LISTS)
def test_a_long_list_is_in_the_kernel_and_stays_there_while_the_agent_takes_it_over(lab: Lab, plane: str) -> None:
    there = NetworkThread(lab.victim)
    server = there.call(serve)
    config = '[crowdsec]\nurl = "http://127.0.0.1:8080"\napi_key = "test"\npoll = "1s"\n'
    agent = lab.agent(f'plane = "{plane}"\n[allow]\naddresses = ["{ALLOWED}"]\n{config}')
    agent.start("--enforce")

    def members(what: str = "synguard ban c") -> int:
        return there.sh(LISTS[plane]).count(what)

    try:
        wait_for(lambda: server.asked > 1, "the agent to follow")
        server.next = many(MANY, ALLOWED, BANNED)
        wait_for(lambda: members() >= MANY + 1, "the kernel to hold every decision", every=0.05)
        assert not members(f"{ALLOWED} ")
        assert "crowdsecurity/http-probing" in agent.verb("why", BANNED).stdout
        assert agent.verb("unban", BANNED, "--yes").returncode == 0
        assert members() == MANY
        wait_for(lambda: agent.status().bans_active == MANY, "the agent to take them over", 60)
        assert members() == MANY
        assert agent.status().totals.repairs == 0
        assert not agent.status().problems
        agent.kill()
        assert members() == MANY
        agent.start("--enforce")
        wait_for(lambda: agent.status().bans_active == MANY, "the next agent to adopt them", 60)
        assert members() == MANY
    finally:
        server.shutdown()
        there.close()
