"""The generator's frames, read back byte by byte."""

from __future__ import annotations

import random
from collections import Counter
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import numpy as np
import pytest
from pydantic import ValidationError

from tests.support.lab.flood_plan import FloodPlan, Look, SourceGroup, anywhere, hosts, prefix
from tests.support.lab.frames import GroupFrames, Route
from tests.support.lab.sources import NOT_PUBLIC4, draw

ROUTE = Route(b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02", IPv4Address("192.0.2.2"), IPv6Address("2001:db8:0:1::2"))


def built(group: SourceGroup, count: int = 500) -> list[bytes]:
    frames = GroupFrames(group, ROUTE, (80, 443), np.random.default_rng(7)).build(count)
    return [row.tobytes() for row in frames]


def source(frame: bytes) -> IPv4Address | IPv6Address:
    return ip_address(frame[26:30] if frame[12:14] == b"\x08\x00" else frame[22:38])


def ones_sum(data: bytes) -> int:
    """The Internet checksum's sum, the slow way; 0xffff over data that carries a right checksum."""
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def drawn(group: SourceGroup, count: int) -> list[int]:
    high, low = draw(group, np.random.default_rng(1)).take(count)
    return [(int(one) << 64) | int(other) for one, other in zip(high, low, strict=True)]


@pytest.mark.parametrize("options", ["none", "mss", "linux", "windows"])
@pytest.mark.parametrize("group", [anywhere(4), anywhere(6)], ids=["ipv4", "ipv6"])
def test_every_checksum_is_right(group: SourceGroup, options: str) -> None:
    for frame in built(group.model_copy(update={"look": Look(options=options)})):  # type: ignore[arg-type]
        four = frame[12:14] == b"\x08\x00"
        tcp = frame[34:] if four else frame[54:]
        addresses = frame[26:34] if four else frame[22:54]
        assert ones_sum(addresses + bytes([0, 6]) + len(tcp).to_bytes(2, "big") + tcp) == 0xFFFF
        if four:
            assert ones_sum(frame[14:34]) == 0xFFFF
            assert int.from_bytes(frame[16:18], "big") == len(frame) - 14
        else:
            assert int.from_bytes(frame[18:20], "big") == len(tcp)


def test_only_syn_is_set_and_ports_are_as_asked() -> None:
    frames = built(anywhere(4))
    assert {frame[47] for frame in frames} == {0x02}
    assert {int.from_bytes(frame[36:38], "big") for frame in frames} == {80, 443}
    assert min(int.from_bytes(frame[34:36], "big") for frame in frames) >= 1024


def test_listed_hosts_are_used_in_turn_and_equally() -> None:
    counts = Counter(str(source(frame)) for frame in built(hosts("198.18.0.1", "198.18.7.2"), 100))
    assert counts == {"198.18.0.1": 50, "198.18.7.2": 50}


@pytest.mark.parametrize(
    ("network", "distinct"), [("198.18.4.0/24", 128), ("2001:db8:bad::/48", 128), ("10.0.0.0/30", 4)]
)
def test_distinct_hosts_of_a_prefix_are_so_many_and_inside(network: str, distinct: int) -> None:
    seen = {source(frame) for frame in built(prefix(network, distinct))}
    assert len(seen) == distinct
    assert all(address in ip_network(network) for address in seen)


def test_any_host_of_a_64_varies_in_its_low_half_only() -> None:
    seen = {source(frame) for frame in built(prefix("2001:db8:bad:7::/64"))}
    assert len(seen) == 500
    assert all(address in ip_network("2001:db8:bad:7::/64") for address in seen)


def test_random_ipv4_sources_are_public_and_spread() -> None:
    addresses = [IPv4Address(number) for number in drawn(anywhere(4), 5000)]
    assert not [address for address in addresses if any(address in network for network in NOT_PUBLIC4)]
    assert all(address.is_global for address in addresses)
    assert len({int(address) >> 24 for address in addresses}) > 180


def test_random_ipv6_sources_are_public_and_rarely_share_a_48() -> None:
    numbers = drawn(anywhere(6), 5000)
    assert all(IPv6Address(number).is_global for number in numbers)
    assert len({number >> 80 for number in numbers}) > 4990


def test_a_source_keeps_its_ttl() -> None:
    look = Look(ttl=(40, 60))
    pairs = {(source(frame), frame[22]) for frame in built(prefix("198.18.0.0/24", 64, look=look))}
    assert len(pairs) == 64
    assert {ttl for _, ttl in pairs} <= set(range(40, 61))
    assert len({ttl for _, ttl in pairs}) > 5


def test_a_plan_crosses_to_the_generator_unchanged() -> None:
    plan = FloodPlan(groups=(anywhere(4, weight=9), hosts("198.18.0.1"), prefix("2001:db8::/64", 3)), pps=123, seed=4)
    assert FloodPlan.model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.parametrize(
    "fields", [{}, {"prefix": "10.0.0.0/8", "anywhere": 4}, {"addresses": ("10.0.0.1", "2001:db8::1")}]
)
def test_a_group_of_no_kind_or_of_two_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SourceGroup.model_validate(fields)


def test_no_flood_is_longer_than_two_minutes() -> None:
    with pytest.raises(ValidationError):
        FloodPlan(groups=(anywhere(4),), duration_s=random.uniform(120.1, 1e6))
