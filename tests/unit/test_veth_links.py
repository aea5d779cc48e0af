"""Which interfaces lead to containers, and which to those in front of us."""

from __future__ import annotations

from synguard.sensors.veth_links import Link, VethPeer, veth_peers_among

LO = Link(1, "lo", "", 0, None)
UPLINK = Link(2, "eth0", "", 0, None)
BRIDGE = Link(3, "docker0", "bridge", 0, None)


def test_a_port_of_a_bridge_is_a_peer_known_by_the_bridge_that_the_host_routes_through() -> None:
    links = [LO, UPLINK, BRIDGE, Link(4, "veth1", "veth", 3, 0)]
    assert veth_peers_among(links, frozenset({2}), bridged_call=False) == [VethPeer(0, "docker0", 3, routed=True)]


def test_a_pair_without_a_bridge_is_a_peer_itself() -> None:
    links = [LO, UPLINK, Link(5, "cali0", "veth", 0, 7)]
    assert veth_peers_among(links, frozenset({2}), bridged_call=False) == [VethPeer(7, "cali0", 5, routed=True)]


def test_the_pair_that_the_default_route_goes_through_is_no_peer() -> None:
    uplink = Link(2, "eth0", "veth", 0, 0)
    assert veth_peers_among([LO, uplink], frozenset({2}), bridged_call=False) == []


def test_a_pair_whose_other_end_is_here_is_no_peer() -> None:
    assert veth_peers_among([LO, UPLINK, Link(6, "veth2", "veth", 0, None)], frozenset({2}), bridged_call=False) == []


def test_a_bridge_with_a_wire_hands_packets_past_our_chains_unless_the_kernel_is_told_to_call_them() -> None:
    links = [LO, Link(2, "eth0", "", 3, None), BRIDGE, Link(4, "veth1", "veth", 3, 0)]
    for upward in (frozenset({3}), frozenset[int]()):
        assert [door.routed for door in veth_peers_among(links, upward, bridged_call=False)] == [False]
        assert [door.routed for door in veth_peers_among(links, upward, bridged_call=True)] == [True]
