"""Whatever the networks, the index answers as a plain search does."""

from __future__ import annotations

import pickle
from copy import deepcopy
from ipaddress import IPv4Network, IPv6Network
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from synguard.addresses import Network, NetworkIndex, covers, format_network, overlaps, parse_network
from synguard.compact_networks import compact_network
from synguard.network_words import word_of_network


def v4(value: int, length: int) -> Network:
    return IPv4Network((value >> (32 - length) << (32 - length) if length else 0, length))


def v6(value: int, length: int) -> Network:
    return IPv6Network((value >> (128 - length) << (128 - length) if length else 0, length))


# Few distinct bits, so that networks meet often.
NETWORKS = st.one_of(
    st.builds(v4, st.integers(0, 15).map(lambda n: n << 28 | n), st.integers(0, 32)),
    st.builds(v6, st.integers(0, 15).map(lambda n: n << 124 | n << 60 | n), st.integers(0, 128)),
)


@given(st.lists(st.sampled_from((0, 0, 1, 0xA0, 0xFFFF)), min_size=8, max_size=8), st.integers(0, 128))
def test_an_ipv6_network_is_written_fast_as_ever(groups: list[int], length: int) -> None:
    network = v6(int.from_bytes(b"".join(group.to_bytes(2, "big") for group in groups), "big"), length)
    assert word_of_network(network) == format_network(network)


@given(NETWORKS)
def test_a_network_is_read_back_from_what_people_are_told(network: Network) -> None:
    assert parse_network(format_network(network)) == network
    assert parse_network(str(network)) == network


@given(NETWORKS, NETWORKS)
def test_a_compact_network_is_as_any_other(one: Network, other: Network) -> None:
    compact = compact_network(one.version, int(one.network_address), one.prefixlen)
    assert compact == one == pickle.loads(pickle.dumps(compact)) == deepcopy(compact)
    assert hash(compact) == hash(one)
    assert (str(compact), format_network(compact)) == (str(one), format_network(one))
    assert (compact == other, other == compact) == (one == other, one == other)
    assert (covers(compact, other), covers(other, compact)) == (covers(one, other), covers(other, one))
    assert (compact.broadcast_address, compact.num_addresses) == (one.broadcast_address, one.num_addresses)
    assert list(islice(compact.hosts(), 3)) == list(islice(one.hosts(), 3))
    assert one.network_address in compact
    if one.prefixlen:
        assert compact.supernet() == one.supernet()
    if one.prefixlen < one.max_prefixlen:
        assert list(compact.subnets()) == list(one.subnets())
    if one.version == other.version:
        assert (compact < other, other < compact) == (one < other, other < one)


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_a_mapped_network_is_its_ipv4_network(value: int, length: int) -> None:
    network = v4(value, length)
    mapped = IPv6Network((0xFFFF << 32 | int(network.network_address), 96 + length))
    assert parse_network(str(mapped)) == network


@given(st.lists(NETWORKS, max_size=20), NETWORKS)
def test_the_index_answers_as_a_plain_search_does(networks: list[Network], asked: Network) -> None:
    index = NetworkIndex(networks)
    around = [network for network in networks if covers(network, asked)]
    within = [network for network in networks if covers(asked, network)]
    assert index.covering(asked) == min(around, key=lambda network: network.prefixlen, default=None)
    found = index.inside(asked)
    assert (found in within) if within else found is None
    assert (index.overlapping(asked) is not None) == any(overlaps(network, asked) for network in networks)
    every = list(index.all_overlapping(asked))
    assert len(every) == len(set(every))
    assert set(every) == {one for one in networks if overlaps(one, asked)}


@given(st.text(max_size=30) | st.from_regex(r"[0-9a-f:.]{1,20}(/[0-9]{1,3})?", fullmatch=True))
def test_any_text_is_a_network_or_a_value_error(text: str) -> None:
    try:
        network = parse_network(text)
    except ValueError:
        return
    assert parse_network(str(network)) == network
