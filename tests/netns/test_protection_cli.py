"""A person at the command line beside a running agent, during a flood and after it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.lab.agent import Agent
from tests.support.lab.flood_plan import hosts
from tests.support.lab.lab import Lab
from tests.support.lab.programs import wait_for
from tests.support.protection import (
    NO_CHALLENGES,
    SMALL_PPS,
    banned,
    flood_of,
    scattered,
    wait_for_bans,
    wait_for_relief,
)

pytestmark = pytest.mark.kernel

LOUD, LIFTED, QUIET = SOURCES = scattered(3)
BY_HAND = "198.51.100.0/24"
READ_BACK = timedelta(seconds=6)
"""Somewhat more than an agent leaves between two looks at all that the kernel holds."""


def test_orders_beside_an_enforcing_agent_are_kept_and_every_verb_makes_sense(lab: Lab) -> None:
    lab.serve()
    agent = lab.agent(NO_CHALLENGES)
    agent.start("--enforce")
    assert agent.verb("ban", BY_HAND, "--for", "10m", "--reason", "a person says so").returncode == 0
    meter, flood = lab.start_meter(), lab.start_flood(flood_of(hosts(*SOURCES), pps=SMALL_PPS))
    wait_for_relief(meter, flood)
    bans = wait_for_bans(agent, SOURCES)
    assert bans.keys() == {*SOURCES, BY_HAND}
    wait_for(lambda: still_hitting(agent) == set(SOURCES), "review to know who still hits", every=0.2)
    verbs_tell_of_the_flood(agent)

    assert agent.verb("unban", LOUD).returncode == 0
    again = wait_for_bans(agent, [LOUD])[LOUD]
    assert again["id"] != bans[LOUD]["id"], "a flood that goes on is new evidence"
    assert again["times"] == 2
    flood.stop()

    wait_for(lambda: not agent.status().targets, "the evidence to drain away", 30, every=0.2)
    assert agent.verb("unban", LIFTED).returncode == 0
    goes_on(agent)
    after = banned(agent)
    assert after.keys() == {LOUD, QUIET, BY_HAND}, "the agent fights the person, or has forgotten a ban"
    assert (after[BY_HAND]["origin"], after[BY_HAND]["scope"], after[BY_HAND]["in_kernel"]) == ("manual", "all", True)
    assert after[BY_HAND]["id"] == bans[BY_HAND]["id"]
    verbs_tell_of_what_was(agent)


def verbs_tell_of_the_flood(agent: Agent) -> None:
    why = agent.ask("why", QUIET)
    assert (why["banned"], why["bans"][0]["target"], why["bans"][0]["score"] >= 100) == (True, QUIET, True)
    assert why["bans"][0]["evidence"]
    assert agent.verb("why", QUIET).stdout.startswith(f"{QUIET} is banned until")
    assert agent.verb("why", "198.18.77.1").stdout.startswith("198.18.77.1 is unknown")
    status = agent.ask("status")
    assert (status["running"], status["healthy"], status["mode"], status["bans_active"]) == (True, True, "enforce", 4)
    assert status["incidents"][0]["kind"] == "syn-flood"
    report = agent.ask("report")
    assert {ban["target"] for ban in report["bans"]} == {*SOURCES, BY_HAND}
    assert {one["kind"] for one in report["incidents"]} == {"syn-flood"}
    text = " ".join(agent.verb("report").stdout.split())
    assert "still under way" in text
    assert all(source in text for source in SOURCES)
    assert "a person says so" in text
    findings = {one["name"]: one for one in agent.ask("doctor")["findings"]}
    assert findings["agent"]["reason"] == "runs, mode enforce, healthy"
    assert findings["bans"]["reason"] == "the kernel holds all 4"
    assert not [one for one in findings.values() if one["level"] == "bad"]


def verbs_tell_of_what_was(agent: Agent) -> None:
    why = agent.ask("why", LIFTED)
    assert why["known"]
    assert not why["banned"]
    assert why["bans"][0]["ended_why"]
    report = agent.ask("report")
    assert [one for one in report["actions"] if one["kind"] == "repair"] == []
    assert sorted(one["kind"] for one in report["actions"]) == ["ban", "unban", "unban"]
    assert all(ban["packets"] for ban in report["bans"] if ban["target"] in {LIFTED, QUIET})
    assert agent.ask("status")["healthy"]


def still_hitting(agent: Agent) -> set[str]:
    return {one["target"] for one in agent.ask("review", "--within", "any")["bans"] if one["still_hitting"]}


def goes_on(agent: Agent) -> None:
    """Wait until the agent has looked at all that the kernel holds once more."""
    end = datetime.now(UTC) + READ_BACK
    wait_for(lambda: (agent.status().last_reading_at or end) > end, "the agent to go on", every=0.2)


def test_a_ban_by_hand_beside_a_dry_run_reaches_the_kernel_and_stays(lab: Lab) -> None:
    lab.serve()
    agent = lab.agent()
    agent.start("--dry-run")
    meter, flood = lab.start_meter(), lab.start_flood(flood_of(hosts(LOUD), pps=SMALL_PPS))
    wait_for_bans(agent, [LOUD])
    assert banned(agent)[LOUD]["dry_run"]
    assert meter.reach().share(flood.first_at, meter.reach().at[-1]) > 0.9, "a dry-run stops nothing"
    assert agent.verb("ban", LOUD, "--for", "10m").returncode == 0
    ordered_at = meter.reach().at[-1]
    wait_for_relief(meter, flood)
    goes_on(agent)
    now = meter.reach().at[-1]
    assert meter.reach().offered_pps(ordered_at, now) > 0.9 * SMALL_PPS
    assert meter.reach().reached_pps(ordered_at + 0.1, now) == 0
    (by_hand,) = [ban for ban in agent.ask("bans") if not ban["dry_run"]]
    assert (by_hand["target"], by_hand["origin"], by_hand["in_kernel"]) == (LOUD, "manual", True)
    agent.stop()
    assert meter.reach().reached_pps(now, meter.reach().at[-1]) == 0
    assert agent.verb("unban", LOUD).returncode == 0
    wait_for(lambda: meter.reach().share(now := meter.reach().at[-1] - 0.2, now + 0.2) > 0.9, "the flood to pass again")
