"""Which interfaces the packets of clients enter by, and when they are looked at again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from synguard.errors import SensorError
from synguard.sensors.attach_points import AGAIN_S, IN_ANY_CASE_S, AttachPoints, AttachPointWatch, attach_points_among
from synguard.sensors.veth_links import Link, VethPeer

LO = Link(1, "lo", "", 0, None, hardware=772)
ETH0 = Link(2, "eth0", "", 0, None)


def names(
    *links: Link, addressless: str = "", upward: tuple[int, ...] = (2,), peers: tuple[VethPeer, ...] = ()
) -> list[str]:
    addressed = {link.name for link in links} - {addressless}
    points, _ = attach_points_among(links, addressed, frozenset(upward), peers)
    return [point.name for point in points]


def test_the_uplink_is_one_and_loopback_is_none() -> None:
    assert names(LO, ETH0) == ["eth0"]


def test_a_bond_takes_the_place_of_its_ports() -> None:
    bond = Link(4, "bond0", "bond", 0, None)
    assert names(LO, Link(2, "eth0", "", 4, None), Link(3, "eth1", "", 4, None), bond, upward=(4,)) == ["bond0"]


def test_a_bridge_with_the_uplink_takes_its_place() -> None:
    bridge = Link(5, "br0", "bridge", 0, None)
    inside = VethPeer(0, "br0", 5, routed=False)
    assert names(LO, Link(2, "eth0", "", 5, None), bridge, upward=(5,), peers=(inside,)) == ["br0"]


def test_a_vlan_with_an_address_is_one_beside_the_device_below_it() -> None:
    assert names(LO, ETH0, Link(6, "eth0.10", "vlan", 0, None)) == ["eth0", "eth0.10"]
    assert names(LO, ETH0, Link(6, "eth0.10", "vlan", 0, None), addressless="eth0", upward=(6,)) == ["eth0.10"]


def test_an_uplink_without_an_address_is_one() -> None:
    """Hosts that announce their address by routing keep it on the loopback interface."""
    assert names(LO, ETH0, addressless="eth0") == ["eth0"]


def test_an_interface_without_address_and_route_is_none() -> None:
    assert names(LO, ETH0, Link(3, "eth1", "", 0, None), addressless="eth1") == ["eth0"]


def test_what_leads_to_containers_is_none() -> None:
    bridge, port = Link(7, "docker0", "bridge", 0, None), Link(8, "veth1", "veth", 7, 0)
    assert names(LO, ETH0, bridge, port, peers=(VethPeer(0, "docker0", 7, routed=True),)) == ["eth0"]
    assert names(LO, ETH0, Link(9, "cali0", "veth", 0, 3), peers=(VethPeer(3, "cali0", 9, routed=True),)) == ["eth0"]


def test_in_a_container_the_veth_that_the_default_route_goes_through_is_one() -> None:
    assert names(LO, Link(2, "eth0", "veth", 0, 0)) == ["eth0"]


def test_a_port_of_a_vrf_is_one_and_the_vrf_is_none() -> None:
    assert names(LO, Link(2, "eth0", "", 9, None), Link(9, "red", "vrf", 0, None)) == ["eth0"]


def test_tunnels_are_ones_and_hardware_that_is_not_understood_is_left_out_with_a_reason() -> None:
    wg, infiniband = Link(3, "wg0", "wireguard", 0, None, hardware=65_534), Link(4, "ib0", "", 0, None, hardware=32)
    points, left_out = attach_points_among([LO, wg, infiniband], {"wg0", "ib0"}, frozenset(), ())
    assert [point.name for point in points] == ["wg0"]
    assert left_out == (("ib0", "packets of hardware type 32 are not understood"),)


def test_what_is_down_and_what_no_client_comes_in_by_is_none() -> None:
    assert names(LO, ETH0, Link(3, "eth1", "", 0, None, up=False), Link(4, "dummy0", "dummy", 0, None)) == ["eth0"]


class Interfaces:
    """Attach points that can fail to be read, and how often they were."""

    def __init__(self) -> None:
        self.reads = 0
        self.fails = False

    def read(self) -> AttachPoints:
        self.reads += 1
        if self.fails:
            raise SensorError("cannot read the network interfaces")
        return AttachPoints()


@pytest.fixture
def interfaces() -> Interfaces:
    return Interfaces()


@pytest.fixture
def watch(interfaces: Interfaces) -> Iterator[AttachPointWatch]:
    with closing(AttachPointWatch(interfaces.read)) as watch:
        watch._has_news = lambda: False  # type: ignore[method-assign]  # this machine's own interfaces do not matter
        yield watch


def test_interfaces_are_read_at_first_and_after_a_while(watch: AttachPointWatch, interfaces: Interfaces) -> None:
    assert watch.follow(0.0) == AttachPoints()
    assert watch.follow(IN_ANY_CASE_S - 1) is None
    assert watch.follow(IN_ANY_CASE_S) == AttachPoints()
    assert interfaces.reads == 2


def test_interfaces_that_keep_changing_are_read_once_a_second(watch: AttachPointWatch, interfaces: Interfaces) -> None:
    watch._has_news = lambda: True  # type: ignore[method-assign]  # a host that starts containers all the time
    for tenth in range(21):
        watch.follow(tenth / 10)
    assert interfaces.reads == 3
    assert AGAIN_S == 1.0


def test_interfaces_that_could_not_be_read_are_read_at_the_next_call_that_may(
    watch: AttachPointWatch, interfaces: Interfaces
) -> None:
    interfaces.fails = True
    with pytest.raises(SensorError):
        watch.follow(0.0)
    interfaces.fails = False
    assert watch.follow(AGAIN_S / 2) is None
    assert watch.follow(AGAIN_S) == AttachPoints()
