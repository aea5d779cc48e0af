"""Enabling during a flood, in the kernel: a trial that nobody confirms leaves nothing; a confirmed one goes on."""

from __future__ import annotations

import os
import subprocess
from itertools import product

import pytest

from tests.support.lab.agent import Agent
from tests.support.lab.lab import Lab
from tests.support.lab.programs import wait_for
from tests.support.lab.snapshot import differences, firewall_snapshot
from tests.support.lab.warm import run_verb
from tests.support.protection import SHAPES, SMALL_PPS, attackers, flood_of

pytestmark = pytest.mark.kernel

ONE = SHAPES["one source"][0](0)
ME = "192.0.2.77"
FIRST, SECOND = f"{ME} 50022 192.0.2.1 22", f"{ME} 50099 192.0.2.1 22"
CONFIG = f'allow.addresses = ["{ME}"]\n'


def enable(lab: Lab, agent: Agent, ssh: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Call the verb as a person does who is logged in through this SSH connection."""
    environment = {**os.environ, "SSH_CONNECTION": ssh}
    given = ("--config", str(agent.config_path), "enable", *words)
    return run_verb(*given, namespace=lab.victim.path, environment=environment)


def kernel_of(lab: Lab) -> dict[str, str]:
    return firewall_snapshot(("ip", "netns", "exec", lab.victim.name))


def in_kernel(agent: Agent) -> set[str]:
    return {ban["target"] for ban in agent.ask("bans") if ban["in_kernel"]}


def test_a_trial_that_nobody_confirms_leaves_nothing_in_the_kernel(lab: Lab) -> None:
    lab.serve()
    for tool, table in product(("iptables-legacy", "ip6tables-legacy"), ("raw", "filter")):
        lab.victim.run([tool, "-t", table, "-S"])  # a table that was once looked at is there, empty
    agent = lab.agent(CONFIG)
    agent.start()
    before = kernel_of(lab)
    flood = lab.start_flood(flood_of(ONE, pps=SMALL_PPS))
    wait_for(lambda: agent.ask("bans"), "a dry-run ban", every=0.3)
    assert kernel_of(lab) == before
    done = enable(lab, agent, FIRST, "--confirm-within", "10s", "--yes")
    assert done.returncode == 0, done.stderr
    assert next(iter(attackers(ONE))) in done.stdout  # whom the dry-run would have banned
    wait_for(lambda: in_kernel(agent) == attackers(ONE), "the ban in the kernel", 9, every=0.1)
    assert enable(lab, agent, FIRST, "--confirm").returncode == 3
    wait_for(lambda: agent.status().mode == "dry-run", "the trial to end", 30)
    assert flood.running
    after = kernel_of(lab)
    assert after == before, differences(before, after)
    assert agent.program.stderr.count("back in dry-run: enforcement was not confirmed") == 1
    assert "enforcement was not confirmed" in agent.verb("status").stdout
    assert "enforcement was not confirmed" in agent.verb("report").stdout
    wait_for(lambda: all(ban["dry_run"] for ban in agent.ask("bans")) and agent.ask("bans"), "dry-run", every=0.3)
    assert kernel_of(lab) == before


def test_a_trial_that_is_confirmed_from_a_new_connection_goes_on(lab: Lab) -> None:
    lab.serve()
    agent = lab.agent(CONFIG)
    agent.start()
    lab.start_flood(flood_of(ONE, pps=SMALL_PPS))
    done = enable(lab, agent, FIRST, "--confirm-within", "15s", "--yes")
    assert done.returncode == 0, done.stderr
    ends_at = agent.status().confirm_by
    assert ends_at is not None
    wait_for(lambda: in_kernel(agent) == attackers(ONE), "the ban in the kernel", 14, every=0.1)
    done = enable(lab, agent, SECOND, "--confirm")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: (agent.status().last_reading_at or ends_at) > ends_at, "the trial's end to pass", 30)
    wait_for(lambda: in_kernel(agent) == attackers(ONE), "the ban renewed for longer", every=0.3)
    assert agent.status().mode == "enforce"
    agent.stop()
    agent.start()
    assert agent.status().mode == "enforce"
    assert agent.status().mode_by == "order"
    assert enable(lab, agent, SECOND, "--off").returncode == 0
    assert agent.status().mode == "dry-run"
    assert in_kernel(agent) == set()
