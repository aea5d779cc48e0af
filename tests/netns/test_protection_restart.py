"""What becomes of bans when the agent is killed: the kernel ends them on time, and a new agent takes them over."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import pytest

from tests.support.lab.flood_plan import hosts
from tests.support.lab.lab import Lab
from tests.support.lab.programs import wait_for
from tests.support.protection import (
    NO_CHALLENGES,
    SHAPES,
    SMALL_PPS,
    attackers,
    banned,
    flood_of,
    monotonic_of,
    scattered,
    wait_for_relief,
)

pytestmark = pytest.mark.kernel

SHORT_BANS = """
[[policy]]
name = "short"
limits = { half_open = 64, syn_rate = 100 }
prefix_limits = { half_open = 256, syn_rate = 1000 }
bans = { first_forgeable = "9s", jitter = 0 }
"""
EDGE_S = 1.5
"""What an expiry may be off: timeouts are whole seconds, and the meter looks at tenths."""

RENEWED_S = 3.0
"""So close to its end, and closer, a ban whose source floods on is made anew by an agent that runs."""


PASSES_PPS: Final = 30.0
"""What reaches the listener of a challenged flood: one SYN in 100 ms on each of two CPUs, by family."""


@pytest.mark.parametrize(
    ("config", "most_pps"), [(NO_CHALLENGES, 0.0), ("", 2 * PASSES_PPS)], ids=["drops", "challenges"]
)
def test_bans_outlive_a_killed_agent_are_adopted_without_a_gap_and_end_on_time_with_nobody_there(
    lab: Lab, tmp_path: Path, config: str, most_pps: float
) -> None:
    pack = tmp_path / "short.toml"
    pack.write_text(SHORT_BANS)
    lab.serve()
    meter = lab.start_meter()
    agent = lab.agent(f'policies = ["{pack}"]\n{config}')
    agent.start("--enforce")
    few, one_64 = hosts(*scattered(8)), SHAPES["one IPv6 /64"][0](0)
    flood = lab.start_flood(flood_of(few, one_64, pps=2 * SMALL_PPS))
    wait_for_relief(meter, flood)
    expected = attackers(few) | attackers(one_64)
    wait_for(lambda: agent.status().bans_active == len(expected), "all bans")
    agent.kill()
    killed_at = time.monotonic()
    agent.start("--enforce")
    taken_over = agent.status()
    agent.kill()
    restarted_until = time.monotonic()
    bans = agent.ask("report")["bans"]
    first_end, last_end = (pick(monotonic_of(ban["expires_at"]) for ban in bans) for pick in (min, max))
    assert restarted_until < first_end - RENEWED_S, "too slow a machine: the bans ended before the restart was judged"
    assert taken_over.bans_active == len(expected)
    assert sorted(ban["target"] for ban in bans) == sorted(expected), "what stood was not adopted but banned anew"

    wait_for(lambda: time.monotonic() > last_end + EDGE_S, "the expiry to be over", every=0.1)
    wait_for(lambda: meter.reach().share(time.monotonic() - 1, time.monotonic()) > 0.9, "everything to pass", every=0.2)
    assert flood.running, "the flood ended before it had been looked at"
    reach = meter.reach()
    assert reach.offered_pps(killed_at, restarted_until) > 1.8 * SMALL_PPS
    assert reach.reached_pps(killed_at, restarted_until) <= most_pps, (
        "a gap opened when the agent was killed or came back"
    )
    assert reach.reached_pps(restarted_until, first_end - EDGE_S) <= most_pps, "a ban ended early"
    assert reach.share(last_end + EDGE_S, reach.at[-1]) > 0.9, "a ban outlived its expiry"
    assert banned(agent) == {}
    assert [ban["active"] for ban in agent.ask("report")["bans"]] == [False] * len(expected)
