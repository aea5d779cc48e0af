"""Proven peers: earned per address, bounded, gone after minutes."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from synguard.decision.proven import ProvenPeers
from synguard.detector.columns import halves


def pair(address: str) -> tuple[int, int]:
    return halves(ip_network(address))


def test_an_address_that_connected_is_proven_and_its_neighbour_is_not() -> None:
    proven = ProvenPeers(600, 100)
    proven.add([pair("192.0.2.1"), pair("2001:db8::1")], 10.0)
    assert proven.seen_at(ip_network("192.0.2.1")) == 10.0
    assert proven.seen_at(ip_network("192.0.2.2")) is None
    assert proven.seen_at(ip_network("2001:db8::/64")) is None


def test_those_inside_a_prefix_are_found_in_both_families() -> None:
    proven = ProvenPeers(600, 1000)
    proven.add([pair(f"192.0.2.{i}") for i in range(10)] + [pair("192.0.3.1"), pair("2001:db8:0:1::9")], 1.0)
    assert {str(peer) for peer in proven.inside(ip_network("192.0.2.8/29"), 100)} == {"192.0.2.8/32", "192.0.2.9/32"}
    assert [str(peer) for peer in proven.inside(ip_network("2001:db8:0:1::/64"), 100)] == ["2001:db8:0:1::9/128"]
    assert proven.inside(ip_network("2001:db8:0:2::/64"), 100) == []
    assert len(proven.inside(ip_network("192.0.2.0/24"), 3)) == 3


def test_memory_is_bounded_and_the_oldest_are_forgotten_first() -> None:
    proven = ProvenPeers(600, 100)
    proven.add([pair("192.0.2.1")], 1.0)
    proven.add([halves(ip_network(int(ip_address("10.0.0.0")) + i)) for i in range(100)], 2.0)
    assert len(proven) == 100
    assert proven.seen_at(ip_network("192.0.2.1")) is None


def test_one_who_connects_again_stays_proven() -> None:
    proven = ProvenPeers(10, 100)
    for at in range(0, 100, 5):
        proven.add([pair("192.0.2.1")], float(at))
    proven.add([pair("192.0.2.2")], 100.0)
    assert proven.seen_at(ip_network("192.0.2.1")) == 95.0
    proven.add([pair("192.0.2.2")], 130.0)
    assert proven.seen_at(ip_network("192.0.2.1")) is None
