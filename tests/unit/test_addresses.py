"""Addresses and networks as operators and kernels write them."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from synguard.addresses import (
    NetworkIndex,
    covers,
    embedded,
    format_network,
    host_network,
    one_party,
    overlaps,
    parse_address,
    parse_network,
    widest,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:0201", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        (" 192.0.2.1 ", "192.0.2.1"),
    ],
)
def test_addresses_are_read_and_mapped_ones_are_ipv4(text: str, address: str) -> None:
    assert str(parse_address(text)) == address


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("2001:db8::/64", "2001:db8::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("fe80::1%eth0", "fe80::1/128"),
    ],
)
def test_networks_are_read_and_mapped_ones_are_ipv4(text: str, network: str) -> None:
    assert str(parse_network(text)) == network


@pytest.mark.parametrize(
    "text",
    ["", "/", "1.2.3", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/", "/24", "010.1.1.1", "1.2.3.4 5", "host", "::1/129",
     "1/8", "1.2.3.4/24/8", "\u0663.1.1.1", "\0", "fe80::/64%eth0"],
)  # fmt: skip
def test_what_is_no_network_is_told_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not an address or prefix, like 192\.0\.2\.7"):
        parse_network(text)


def test_host_bits_are_told_with_the_network_that_was_probably_meant() -> None:
    with pytest.raises(ValueError, match=r"did you mean 192\.0\.2\.0/24\?"):
        parse_network("192.0.2.7/24")
    with pytest.raises(ValueError, match=r"did you mean 2001:db8::/32\?"):
        parse_network("2001:db8::1/32")
    with pytest.raises(ValueError, match=r"did you mean 192\.0\.2\.0/24\?"):
        parse_network("::ffff:192.0.2.7/120")


def test_networks_cover_and_overlap_within_their_family_alone() -> None:
    wide, narrow = parse_network("192.0.2.0/24"), parse_network("192.0.2.7")
    assert covers(wide, narrow)
    assert covers(wide, wide)
    assert not covers(narrow, wide)
    assert overlaps(narrow, wide)
    assert overlaps(wide, narrow)
    assert not overlaps(wide, parse_network("192.0.3.0/24"))
    assert not covers(parse_network("::/0"), narrow)
    assert not covers(parse_network("0.0.0.0/0"), parse_network("::1"))


@pytest.mark.parametrize(
    ("network", "text"), [("192.0.2.7/32", "192.0.2.7"), ("192.0.2.0/24", "192.0.2.0/24"), ("::1/128", "::1")]
)
def test_single_addresses_are_told_without_a_length(network: str, text: str) -> None:
    assert format_network(parse_network(network)) == text


def test_a_host_network_is_one_address() -> None:
    assert host_network(parse_address("192.0.2.7")).num_addresses == 1
    assert str(host_network(parse_address("2001:db8::1"))) == "2001:db8::1/128"


def test_an_empty_index_finds_nothing() -> None:
    assert NetworkIndex([]).overlapping(parse_network("0.0.0.0/0")) is None


def test_the_widest_covering_network_is_found() -> None:
    index = NetworkIndex(parse_network(text) for text in ("10.1.2.0/24", "10.0.0.0/8", "::/0"))
    assert index.covering(parse_network("10.1.2.3")) == parse_network("10.0.0.0/8")
    assert index.inside(parse_network("10.1.0.0/16")) == parse_network("10.1.2.0/24")
    assert index.inside(parse_network("10.1.2.3")) is None
    assert index.covering(parse_network("11.0.0.1")) is None


@pytest.mark.parametrize(
    ("network", "inner"),
    [
        ("64:ff9b::c000:207", "192.0.2.7/32"),
        ("64:ff9b::c000:200/120", "192.0.2.0/24"),
        ("64:ff9b:1:7::c000:207", "192.0.2.7/32"),
        ("64:ff9b::/64", None),
        ("64:ff9b:0:0:1::c000:207", None),
        ("2002:c000:207::1", None),
        ("2001:0:c000:207::1", None),
        ("192.0.2.7", None),
    ],
)
def test_what_translators_embed_is_read_from_the_last_32_bits(network: str, inner: str | None) -> None:
    """6to4 and Teredo are not embedded in this sense: there a /48, or the server, is the party (decision 0047)."""
    assert embedded(parse_network(network)) == (ip_network(inner) if inner else None)


@pytest.mark.parametrize(
    ("network", "one"),
    [("2001:db8::/64", True), ("2001:db8::/63", False), ("64:ff9b::c000:207", True), ("64:ff9b::c000:200/120", False)],
)
def test_each_translated_address_is_a_party_of_its_own(network: str, one: bool) -> None:
    assert one_party(parse_network(network)) is one


def test_a_configured_prefix_of_translated_addresses_is_one_as_those_of_rfc_6052() -> None:
    pref64 = (ip_network("2001:db8:64::/96"),)
    assert not one_party(parse_network("2001:db8:64::c000:200/120"), pref64)
    assert one_party(parse_network("2001:db8:64::c000:207"), pref64)
    assert one_party(parse_network("2001:db8:65::/64"), pref64)
    assert widest(parse_network("2001:db8:64::/96"), pref64) == widest(parse_network("2001:db8:64::/48"), pref64) == 104
    assert widest(parse_network("2001:db8:65::/48"), pref64) == 32
