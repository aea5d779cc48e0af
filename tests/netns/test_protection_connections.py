"""Floods of completed handshakes on a guarded victim: the sources are shut out whole, everybody else is not."""

from __future__ import annotations

import time
from ipaddress import ip_network

import pytest

from tests.support.lab.client_plan import persistent
from tests.support.lab.connection_plan import ConnectionPlan, attacker_sources
from tests.support.lab.lab import Lab, Meter
from tests.support.lab.programs import wait_for
from tests.support.protection import LONGEST_S, banned, crowd, wait_for_attempts, wait_for_bans

pytestmark = pytest.mark.kernel


def offered_since(meter: Meter, since: float) -> float:
    """Return how many packets the attackers sent; unanswered ones are repeated ever more rarely."""
    reach = meter.reach()
    return float(reach.offered[-1] - reach.offered[reach.at >= since][0]) if reach.at[-1] > since else 0.0


def thousand_from(sources: tuple[str, ...]) -> ConnectionPlan:
    """Two and a half times the limit of the default pack; each sends a byte a second, so that it is heard of."""
    return ConnectionPlan(sources=sources, each=1000, opens_per_second=1500, trickle_s=1, duration_s=LONGEST_S)


def test_sources_that_hold_too_many_connections_are_cut_off_and_clients_are_unharmed(lab: Lab) -> None:
    lab.serve()
    agent = lab.agent()
    agent.start("--enforce")
    meter, clients = lab.start_meter(), lab.start_clients(crowd())
    regulars = lab.start_clients(persistent(clients=10, duration_s=240))
    sources = attacker_sources(3, 4), attacker_sources(2, 6)
    floods = [lab.start_connections(thousand_from(some)) for some in sources]
    answered_at_first = [dict.fromkeys(some, True) for some in sources]
    wait_for(lambda: [flood.answered() for flood in floods] == answered_at_first, "every attacker to be answered once")
    expected = {*sources[0], *(str(ip_network(f"{one}/64", strict=False)) for one in sources[1])}
    bans = wait_for_bans(agent, expected)
    wait_for(lambda: not any(any(flood.answered().values()) for flood in floods), "the last answer to a banned one")
    silent_at = time.monotonic()
    wait_for_attempts(clients, silent_at)
    wait_for(lambda: offered_since(meter, silent_at) > 500, "the attackers to go on", 40, every=0.2)
    until = time.monotonic()
    regulars.stop()
    clients.stop()
    assert all(flood.running for flood in floods), "the flood ended before it had been looked at"
    assert banned(agent).keys() == bans.keys() == expected
    assert {(ban["scope"], tuple(ban["ports"])) for ban in bans.values()} == {("all", ())}
    assert {one["signal"] for ban in bans.values() for one in ban["evidence"]} <= {"connections", "connection_rate"}
    assert meter.reach().share(silent_at, until) < 0.01
    assert clients.attempts().between(floods[0].first_at, until).share >= 0.99
    assert regulars.attempts().between(floods[0].first_at, until).share == 1.0
    assert agent.ask("report")["incidents"][-1]["kind"] == "connection-flood"
