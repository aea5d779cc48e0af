"""A real agent records a real flood, is killed in the midst of it, and what it wrote is replayed."""

from __future__ import annotations

import stat

import pytest

from tests.support.lab.client_plan import steady
from tests.support.lab.flood_plan import FloodPlan, hosts
from tests.support.lab.lab import Lab
from tests.support.lab.programs import wait_for

pytestmark = pytest.mark.kernel

ATTACKER = "198.18.9.9"


def test_what_a_killed_agent_recorded_is_replayed_to_the_bans_it_would_have_made(lab: Lab) -> None:
    lab.serve()
    agent = lab.agent()
    path = lab.workdir / "x.rec"
    agent.start("--dry-run", "--record", str(path))
    lab.start_clients(steady(duration_s=20))
    lab.start_flood(FloodPlan(groups=(hosts(ATTACKER),), pps=2_000, duration_s=20))
    wait_for(lambda: agent.ask("bans"), "the ban", every=0.2)
    size = path.stat().st_size
    wait_for(lambda: path.stat().st_size > size, "one more tick on disk", every=0.05)
    agent.kill()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    shape = agent.ask("policy", "replay", str(path))
    assert {ban["target"] for ban in shape["bans"]} == {ATTACKER}
    assert {ban["scope"] for ban in shape["bans"]} == {"new"}
    assert shape["incidents"][0]["kind"] == "syn-flood"
    assert shape["recording"]["failed_ticks"] == {}


def test_an_agent_that_cannot_go_on_recording_goes_on_protecting(lab: Lab) -> None:
    lab.serve()
    agent = lab.agent()
    path = lab.workdir / "x.rec"
    agent.start("--enforce", "--record", str(path), "--record-limit", "2KiB")
    lab.start_clients(steady(duration_s=20))
    lab.start_flood(FloodPlan(groups=(hosts(ATTACKER),), pps=2_000, duration_s=20))
    wait_for(lambda: "limit of 2 KiB" in agent.program.stderr, "the end of the recording", every=0.1)
    wait_for(lambda: agent.ask("bans"), "the ban", every=0.2)
    assert agent.stop() == 0
    assert path.stat().st_size <= 2048
    assert agent.program.stderr.count("recording ends") == 1
