"""Routes through real speakers: ExaBGP and GoBGP here, GoBGP and BIRD upstream; what the peers hold is looked at."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_network

import pytest

from synguard.fleet.routes import Route
from synguard.jsonable import jsonable
from tests.support.lab.bgp import BgpNetwork
from tests.support.lab.namespaces import REPOSITORY
from tests.support.lab.programs import wait_for

pytestmark = pytest.mark.kernel

SOURCE = Route(ip_network("203.0.113.5/32"), ip_network("192.0.2.2/32"))
SOURCE6 = Route(ip_network("2001:db8:a::/64"), ip_network("2001:db8::2/128"), rate_bytes=50_000)
FLOOD = Route(None, ip_network("192.0.2.2/32"), 80, syns_only=True, rate_bytes=1_000_000)
HOLE = Route(None, ip_network("192.0.2.9/32"), next_hop="10.9.0.254")
ALL = (SOURCE, SOURCE6, FLOOD, HOLE)

IN_GOBGP = {
    SOURCE: "[destination: 192.0.2.2/32][source: 203.0.113.5/32]",
    SOURCE6: "[source: 2001:db8:a::/64/0]",
    FLOOD: "[destination: 192.0.2.2/32][protocol: ==tcp][destination-port: ==80][tcp-flags: S&!=A]",
    HOLE: "192.0.2.9/32",
}
IN_BIRD = {
    SOURCE: "flow4 { dst 192.0.2.2/32; src 203.0.113.5/32; }",
    SOURCE6: "src 2001:db8:a::/64; }",
    FLOOD: "flow4 { dst 192.0.2.2/32; proto 6; dport 80; tcp flags !0x0/0x2 && !0x10/0x10; }",
    HOLE: "192.0.2.9/32",
}


class FeederProcess:
    """The feeder as the agent starts it, beside the speaker."""

    def __init__(self, net: BgpNetwork, most_routes: int = 64) -> None:
        self._process = subprocess.Popen(
            net.host.command(
                [
                    *(sys.executable, "-m", "synguard.fleet.feeder", net.speaker, net.place, str(most_routes)),
                    str(net.workdir / "upstream.json"),
                ]
            ),
            stdin=subprocess.PIPE,
            stdout=(net.workdir / "said").open("w"),
            cwd=REPOSITORY,
        )
        self._net = net

    def want(self, *routes: Route, lasts_s: float = 60.0) -> None:
        deadline = time.monotonic() + lasts_s
        line = json.dumps({"routes": [[jsonable(route), deadline] for route in routes]})
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def said(self) -> dict[str, object]:
        lines = (self._net.workdir / "said").read_text().splitlines()
        return dict(json.loads(lines[-1])) if lines else {}

    def lose_agent(self) -> None:
        """End its input, as the kernel does when the agent is killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def kill(self) -> None:
        with suppress(BrokenPipeError):
            self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module", params=["exabgp", "gobgp"])
def net(request: pytest.FixtureRequest) -> Iterator[BgpNetwork]:
    with BgpNetwork(request.param) as net:
        yield net


@pytest.fixture
def feeder(net: BgpNetwork) -> Iterator[FeederProcess]:
    made = FeederProcess(net)
    yield made
    made.lose_agent()
    expect(net)
    made.kill()


def expect(net: BgpNetwork, *routes: Route) -> None:
    """Wait until both networks upstream hold these routes and no others of ours."""

    def held() -> bool:
        gobgp, bird = net.routes_of_gobgp(), net.routes_of_bird()
        return all(
            (text[route] in shown) is (route in routes)
            for text, shown in ((IN_GOBGP, gobgp), (IN_BIRD, bird))
            for route in ALL
        )

    wait_for(held, f"upstream to hold {len(routes)} routes", 20, every=0.1)


def test_routes_arrive_as_meant_and_are_taken_back(net: BgpNetwork, feeder: FeederProcess) -> None:
    feeder.want(*ALL)
    expect(net, *ALL)
    assert "discard" in net.routes_of_gobgp()
    assert "rate: 1000000" in net.routes_of_gobgp()
    assert "blackhole" in net.routes_of_gobgp()
    feeder.want(FLOOD)
    expect(net, FLOOD)


def test_a_route_leaves_at_its_deadline(net: BgpNetwork, feeder: FeederProcess) -> None:
    feeder.want(SOURCE, lasts_s=2.0)
    expect(net, SOURCE)
    expect(net)


def test_routes_leave_when_the_agent_is_killed(net: BgpNetwork, feeder: FeederProcess) -> None:
    feeder.want(SOURCE, FLOOD)
    expect(net, SOURCE, FLOOD)
    feeder.lose_agent()
    expect(net)


def test_what_a_killed_feeder_left_is_withdrawn_by_the_next(net: BgpNetwork) -> None:
    first = FeederProcess(net)
    first.want(SOURCE, FLOOD)
    expect(net, SOURCE, FLOOD)
    first.kill()
    second = FeederProcess(net)
    second.want(FLOOD)
    expect(net, FLOOD)
    second.lose_agent()
    expect(net)
    second.kill()


def test_a_speaker_that_is_away_is_said_and_gets_its_routes_when_it_is_back(
    net: BgpNetwork, feeder: FeederProcess
) -> None:
    net.stop_speaker()
    feeder.want(SOURCE)
    wait_for(lambda: feeder.said().get("reachable") is False, "the feeder to say that the speaker is away")
    net.start_speaker()
    expect(net, SOURCE)
    assert feeder.said()["reachable"] is True
