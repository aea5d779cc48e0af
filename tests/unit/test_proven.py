"""Proven peers: earned per address, bounded, gone after minutes."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.columns import U64
from synguard.decision.proven import ProvenPeers
from tests.support.traffic import columns


def peers(*addresses: str) -> tuple[U64, U64]:
    return columns(addresses)


def test_an_address_that_connected_is_proven_and_its_neighbour_is_not() -> None:
    proven = ProvenPeers(600, 100)
    proven.add(peers("192.0.2.1", "2001:db8::1"), 10.0)
    assert proven.seen_at(ip_network("192.0.2.1")) == 10.0
    assert proven.seen_at(ip_network("192.0.2.2")) is None
    assert proven.seen_at(ip_network("2001:db8::/64")) is None


def test_those_inside_a_prefix_are_found_in_both_families() -> None:
    proven = ProvenPeers(600, 1000)
    proven.add(peers(*(f"192.0.2.{i}" for i in range(10)), "192.0.3.1", "2001:db8:0:1::9"), 1.0)
    assert {str(peer) for peer in proven.inside(ip_network("192.0.2.8/29"), 100)} == {"192.0.2.8/32", "192.0.2.9/32"}
    assert [str(peer) for peer in proven.inside(ip_network("2001:db8:0:1::/64"), 100)] == ["2001:db8:0:1::9/128"]
    assert proven.inside(ip_network("2001:db8:0:2::/64"), 100) == []
    assert len(proven.inside(ip_network("192.0.2.0/24"), 3)) == 3


def test_memory_is_bounded_and_a_network_that_fills_it_pushes_out_its_own_newest() -> None:
    """1,400 handshakes a second from the addresses of one IPv6 /48 left no place for anybody else."""
    proven = ProvenPeers(600, 1000)
    proven.add(peers("192.0.2.1", "2001:db8:5::7"), 1.0)
    for second in range(40):
        proven.add(peers(*(f"2001:db9:9:{second:x}::{i:x}" for i in range(100))), 2.0 + second)
        assert len(proven) <= 1000
    assert proven.seen_at(ip_network("192.0.2.1")) == 1.0
    assert proven.seen_at(ip_network("2001:db8:5::7")) == 1.0
    assert proven.seen_at(ip_network("2001:db9:9:0::5")) == 2.0
    assert proven.count(ip_network("2001:db9:9::/48")) >= 900


@given(st.lists(st.sets(st.integers(0, 40), max_size=12), max_size=12), st.integers(4, 30))
def test_whatever_comes_it_answers_as_a_plain_dictionary_would(seconds: list[set[int]], at_most: int) -> None:
    words = [
        f"192.0.{i // 8}.{i % 8 * 30}" if i % 2 else f"2001:db8:{i // 8 + 1}:{i % 3 + 1}::{i + 1:x}" for i in range(41)
    ]
    proven, known = ProvenPeers(1000, at_most), dict[str, float]()
    for at, chosen in enumerate(seconds):
        proven.add(peers(*(words[i] for i in sorted(chosen))), float(at))
        known |= {words[i]: float(at) for i in chosen}
        kept = {word: seen for word, seen in known.items() if proven.seen_at(ip_network(word)) is not None}
        assert len(proven) == len(kept) <= at_most
        assert all(proven.seen_at(ip_network(word)) == seen for word, seen in kept.items())
        for width in ("192.0.0.0/16", "192.0.1.0/24", "2001:db8::/32", "2001:db8:1::/48", "2001:db8:1:2::/64"):
            inside = {str(one.network_address) for one in proven.inside(ip_network(width), 100)}
            assert inside == {word for word in kept if ip_address(word) in ip_network(width)}
            assert proven.count(ip_network(width)) == len(inside)
        known = kept


def test_one_who_connects_again_stays_proven() -> None:
    proven = ProvenPeers(10, 100)
    for at in range(0, 100, 5):
        proven.add(peers("192.0.2.1"), float(at))
    proven.add(peers("192.0.2.2"), 100.0)
    assert proven.seen_at(ip_network("192.0.2.1")) == 95.0
    proven.add(peers("192.0.2.2"), 130.0)
    assert proven.seen_at(ip_network("192.0.2.1")) is None


@pytest.mark.parametrize("served_at", [1.0, 2.0], ids=["the same moment", "later"])
@pytest.mark.parametrize(
    ("served", "primed"),
    [
        ("2001:db8:5:7ff::3", [f"2001:db8:1:2::{j:x}" for j in range(1, 3001)]),
        ("2001:db8:5:7ff::3", [f"2001:db8:1:{j:x}::1" for j in range(1, 3001)]),
        ("2001:db8:5:7ff::3", [f"2001:db8:5:6{j:02x}::{k:x}" for j in range(250) for k in range(1, 13)]),
        ("10.9.200.3", [f"10.9.{j // 250 + 20}.{j % 250 + 1}" for j in range(3000)]),
    ],
    ids=["a /64 of the /32", "a /48 of the /32", "a /56 of the /48", "some /24s of the /16"],
)
def test_many_handshakes_of_neighbours_do_not_push_out_a_client(
    served: str, primed: list[str], served_at: float
) -> None:
    """Found by tests/property/test_adversary.py: when an agent starts, all peers of one /16 or /32 are equally old.

    Later it found a /48 each of whose addresses was in a /64 of its own.
    """
    proven = ProvenPeers(600, 200)
    proven.add(peers(*primed), 1.0)
    proven.add(peers(served), served_at)
    proven.add(peers(*primed[::-1]), 3.0)
    assert proven.count(ip_network(served)) == 1
    assert len(proven) <= 200


def test_translated_peers_keep_their_places_as_ipv4_peers_do() -> None:
    """Behind NAT64 all clients lie in one /32: they were one network, which gives way first."""
    proven = ProvenPeers(600, 100)
    served = [f"64:ff9b::198.{number}.100.1" for number in range(40)]
    proven.add(peers(*served), 1.0)
    proven.add(peers(*(f"2001:db8:9:{i:x}::1" for i in range(200))), 2.0)
    assert all(proven.seen_at(ip_network(one)) == 1.0 for one in served)
