"""The challenge on any kernel: the program is loaded and attached, and the listener takes its cookies."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from synguard.enforcer.challenge.plane import ChallengePlane
from synguard.enforcer.challenge.program import ProgramSettings
from synguard.enforcer.reconcile.delta import delta
from synguard.model import ON_HANDSHAKES, Action, Ban
from synguard.sensors.counters import read_counters
from tests.support.bans import ban, wanted
from tests.support.challenge import COOKIES, ONSET, challenge, now
from tests.support.firewall_net import PORTS, FirewallNet, prefix, source
from tests.support.own_network import THREAD_NET

pytestmark = [pytest.mark.kernel, pytest.mark.smoke]

ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
CLIENTS = 20


def cookies_accepted(net: FirewallNet) -> int:
    return net.host.call(read_counters, 0.0, THREAD_NET).values["SyncookiesRecv"]


@pytest.mark.parametrize("family", [4, 6])
def test_challenged_clients_are_answered_by_the_program_and_accepted_by_the_listener(
    net: FirewallNet, family: int
) -> None:
    """A slow machine may let each client through unchallenged, one SYN in 100 ms and CPU: so they come at once."""
    net.host.sh("sysctl -qw " + " ".join(f"{name}={value}" for name, value in COOKIES.items()))
    plane = net.host.call(lambda: ChallengePlane(now, lambda: {socket.if_nametoindex("left")}, 100.0))
    goal = wanted(challenge("all", ANYWHERE[family], PORTS[0]))
    net.host.call(lambda: plane.apply(delta(goal, plane.read(), now())))
    assert plane.program is not None
    net.host.call(plane.program.watch, {PORTS[0]: ONSET})
    net.host.call(plane.program.configure, ProgramSettings(timestamps=True))
    assert net.reaches(family), "the first teaches the program and overflows the listener"
    before = cookies_accepted(net)
    assert net.reach_at_once(family, CLIENTS) == CLIENTS
    accepted = cookies_accepted(net) - before
    hits = net.host.call(plane.read).bans["all"].hits
    net.host.call(plane.flush)
    print(f"\n{hits.answered} answered, {hits.passed} passed")
    assert hits.answered + hits.passed >= CLIENTS
    assert hits.answered > 0
    assert accepted >= CLIENTS


@pytest.mark.parametrize("family", [4, 6])
def test_each_of_many_bans_of_one_source_is_carried_out_on_its_own_port(net: FirewallNet, family: int) -> None:
    """Of five bans by hand of one target, a port each, the program carried out four and passed over the fifth."""
    net.host.sh("sysctl -qw " + " ".join(f"{name}={value}" for name, value in COOKIES.items()))
    plane = net.host.call(lambda: ChallengePlane(now, lambda: {socket.if_nametoindex("left")}, 100.0))
    others = [challenge(f"other-{port}", source(family), port) for port in range(1000, 1040)]
    last, around = challenge("web", source(family), PORTS[0]), challenge("tls", prefix(family), PORTS[1])
    harder = ban("harder", prefix(family), action=Action.DROP, ports=(PORTS[0],))

    def hold(*bans: Ban) -> None:
        goal = wanted(*others, *bans)
        net.host.call(lambda: plane.apply(delta(goal, plane.read(), now())))

    def met() -> set[str]:
        bans = net.host.call(plane.read).bans.values()
        return {one.ban_id for one in bans if one.hits.packets or one.hits.passed}

    hold(last, around)
    assert net.reaches(family, port=PORTS[0])
    assert met() == {"web"}
    assert net.reaches(family, port=PORTS[1])
    assert met() == {"web", "tls"}
    hold(last, around, harder)
    assert net.stopped(family, port=PORTS[0])
    assert net.reaches(family, port=PORTS[1])
    hold(around)
    assert net.reaches(family, port=PORTS[0])
    net.host.call(plane.flush)


@pytest.mark.parametrize("family", [4, 6])
def test_a_copy_of_a_ban_on_handshakes_stops_proven_peers_on_its_own_ports_alone(net: FirewallNet, family: int) -> None:
    plane = net.host.call(lambda: ChallengePlane(now, lambda: {socket.if_nametoindex("left")}, 100.0))
    refused = replace(ban("holds", source(family), ports=(PORTS[0],)), evidence=ON_HANDSHAKES)
    goal = wanted(refused, ban("on-syns", prefix(family), ports=PORTS), proven=(source(family), source(family, 3)))
    net.host.call(lambda: plane.apply(delta(goal, plane.read(), now())))
    assert net.stopped(family, port=PORTS[0])
    assert net.reaches(family, port=PORTS[1])
    assert net.reaches(family, 3, PORTS[0])
    assert net.stopped(family, 4, PORTS[1])
    net.host.call(plane.flush)
