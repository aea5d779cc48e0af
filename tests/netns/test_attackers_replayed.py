"""`make attackers` replays its rows beside the host without the agent; SYNs that no sensor shows harm no client."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.support.attackers import replayed, share
from tests.support.framing import etc_netns
from tests.support.lab.client_plan import client_sources
from tests.support.lab.flood_plan import Look, SourceGroup, prefix
from tests.support.lab.topology import Victim
from tests.support.replays import BEHIND, OUTSIDE, holding
from tests.support.side_by_side import CONFIG, Attack, run

pytestmark = pytest.mark.kernel


def test_a_row_is_replayed_beside_the_host_without_the_agent() -> None:
    """Row 6: a handshake of one address, a flood of its /64; one of those that take little time."""
    ((agent, alone),) = replayed([6])
    assert share(agent) >= 0.95, agent
    assert share(alone) >= 0, alone
    assert "of SYNs" in agent


@pytest.mark.parametrize(
    ("group", "config"),
    [
        (prefix(BEHIND, distinct=4000, look=Look(headers=(8,) * 9)), ""),
        (prefix("198.18.7.0/24", look=Look(fragment=8)), 'plane = "nftables"\n' + CONFIG),
    ],
    ids=["nine headers", "fragments, challenged"],
)
def test_clients_get_in_whatever_syns_hide_behind(group: SourceGroup, config: str) -> None:
    """No one is told from the SYNs of the first, and a challenge does not look into the others: cookies carry both."""
    clients = OUTSIDE | {"unknown, IPv6": ("unknown", client_sources(20, 6, first=300))}
    result = run(
        Attack((group,), 12_000, clients, victim=Victim(syncookies=0, backlog=128), config=config),
        agent=True,
        newcomers_s=3.0,
    )
    shares = {who: f"{one.share:.1%} of {len(one)}" for who, one in result.clients.items()}
    print(f"\n{result.reached:.0%} of the SYNs reach the listener; {shares}; {result.bans}")
    assert result.worst() >= 0.99, shares


def test_hosts_that_hold_a_full_nginx_are_found_by_whom_it_turns_away() -> None:
    """Out of ``worker_connections`` it closes new connections at once; row 4 on the web server that most people run."""
    attack = Attack((), 1, OUTSIDE, victim=Victim(places=500), held=holding(4, 160, 160), grace_s=20.0, stays=True)
    with etc_netns(), ProcessPoolExecutor(2, get_context("spawn")) as hosts:
        both = [hosts.submit(run, attack, agent=there, newcomers_s=3.0) for there in (True, False)]
        agent, alone = (one.result() for one in both)
    print(f"\n{agent.worst():.0%} with the agent, {alone.worst():.0%} without; {agent.bans}")
    assert alone.worst() < 0.5
    assert agent.worst() >= 0.95
