"""A ban that another's rule makes useless, in the kernel: told with its cause, left alone, and over when it goes."""

from __future__ import annotations

import pytest

from tests.support.lab.agent import Agent
from tests.support.lab.lab import Lab
from tests.support.lab.programs import wait_for
from tests.support.protection import (
    NO_CHALLENGES,
    SHAPES,
    SMALL_PPS,
    attackers,
    flood_of,
    wait_for_bans,
    wait_for_relief,
)

pytestmark = pytest.mark.kernel

ONE = SHAPES["one source"][0](0)
ACCEPT = ("iptables-legacy", "-t", "raw")


def leaks(agent: Agent) -> list[str]:
    return [leak.text for leak in agent.status().leaks]


def test_an_accept_rule_ahead_of_our_jump_is_told_as_the_cause_and_not_fought(lab: Lab) -> None:
    lab.serve()
    agent = lab.agent(NO_CHALLENGES)
    agent.start("--enforce")
    meter, flood = lab.start_meter(), lab.start_flood(flood_of(ONE, pps=SMALL_PPS))
    wait_for_relief(meter, flood)
    [target] = wait_for_bans(agent, attackers(ONE))
    wait_for(lambda: (agent.ask("bans")[0]["packets"]) > 0, "the kernel to count", every=0.3)
    assert leaks(agent) == []
    lab.victim.run([*ACCEPT, "-I", "PREROUTING", "-j", "ACCEPT"])
    wait_for(lambda: leaks(agent), "the alarm", 40, every=0.3)
    [told] = leaks(agent)
    assert target in told
    assert "iptables raw: rule 1 of PREROUTING accepts packets before SYNGUARD sees them" in told
    assert told in agent.verb("status").stdout
    assert told in agent.verb("why", target).stdout
    assert "banned but still arriving" in agent.verb("doctor").stdout
    assert agent.program.stderr.count("banned but still arriving") == 1
    assert lab.victim.run([*ACCEPT, "-S", "PREROUTING"]).splitlines()[1] == "-A PREROUTING -j ACCEPT"
    lab.victim.run([*ACCEPT, "-D", "PREROUTING", "-j", "ACCEPT"])
    wait_for(lambda: not leaks(agent), "the alarm to be over", 30, every=0.3)
    assert flood.running
    told_of = [one["text"] for one in agent.ask("report")["actions"] if one["kind"] == "leak"]
    assert len(told_of) == 2
