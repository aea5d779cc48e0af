"""Three hosts with real agents and one real CrowdSec local API: what one has proven, the others refuse."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.lab.fleet import FORGED, FleetNetwork, wait_until_banned
from tests.support.lab.flood_plan import FloodPlan, hosts
from tests.support.lab.programs import wait_for

pytestmark = pytest.mark.kernel

POLL_S = 1
BAD4, BAD6, OTHER = "203.0.113.7", "2001:db8:a:7::7", "203.0.113.8"
SITE6 = "2001:db8:a:7::/64"


@pytest.fixture(scope="module")
def net() -> Iterator[FleetNetwork]:
    with FleetNetwork(3, POLL_S) as net:
        for host in net.hosts:
            host.agent.start("--enforce")
        yield net


def test_a_flood_banned_on_one_host_is_refused_by_the_others_until_it_is_unbanned(net: FleetNetwork) -> None:
    first, *others = net.hosts
    for host in net.hosts:
        for source in (BAD4, BAD6):
            wait_for(lambda source=source, host=host: net.connects(source, host), f"{source} to get in at first")
    net.hold(BAD4, first)
    net.hold(BAD6, first)
    wait_until_banned(first, BAD4, SITE6, origin="auto")
    for host in others:
        wait_until_banned(host, BAD4, SITE6, origin="crowdsec")
        wait_for(lambda host=host: not net.connects(BAD4, host) and not net.connects(BAD6, host), "it to be refused")
    assert first.bans() == {BAD4: "auto", SITE6: "auto"}, "what it sent came back"
    assert "synguard/connection-flood (CrowdSec, origin synguard)" in others[0].agent.verb("why", BAD4).stdout
    net.let_go(first)
    assert first.agent.verb("unban", SITE6).returncode == 0
    for host in others:
        wait_for(lambda host=host: host.bans() == {BAD4: "crowdsec"}, "the others to follow the unban", every=0.1)
        wait_for(lambda host=host: net.connects(BAD6, host), "it to be let in again")
        assert not net.connects(BAD4, host)


def test_a_local_api_that_is_killed_loses_nothing_and_a_host_that_was_away_catches_up(net: FleetNetwork) -> None:
    first, second, third = net.hosts
    net.api.decide("203.0.113.40")
    wait_until_banned(second, "203.0.113.40", origin="crowdsec")
    net.unplug(third)
    net.api.kill()
    net.hold(OTHER, first)
    wait_until_banned(first, OTHER, origin="auto")
    wait_for(
        lambda: any(one.code == "fleet-failed" for one in second.agent.status().conditions), "the condition to be told"
    )
    assert second.bans()["203.0.113.40"] == "crowdsec", "what is known stands"
    assert OTHER not in second.bans()
    net.api.start()
    wait_until_banned(second, OTHER, "203.0.113.40", origin="crowdsec")
    net.unplug(third, plugged=True)
    wait_until_banned(third, OTHER, "203.0.113.40", origin="crowdsec")
    wait_for(
        lambda: not any(one.code == "fleet-failed" for one in third.agent.status().conditions), "the condition to end"
    )


def test_a_forged_flood_on_one_host_bans_no_one_on_any_other(net: FleetNetwork) -> None:
    first, *others = net.hosts
    framed = FORGED.replace("0/24", "9")
    flood = net.flood(FloodPlan(groups=(hosts(framed),), pps=3000, duration_s=30))
    wait_for(lambda: framed in first.bans(), "the flooded host to act", 20, every=0.1)
    flood.stop()
    net.api.decide("203.0.113.41")  # what came after it has arrived everywhere
    for host in others:
        wait_until_banned(host, "203.0.113.41", origin="crowdsec")
        assert framed not in host.bans()
    assert not [alert for alert in net.api.alerts() if framed in str(alert["source"])]
