"""Counting: rows to observations, rolled up the prefix tree."""

from __future__ import annotations

import random
from collections import Counter
from ipaddress import IPv6Network, ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from synguard.detector.assessment import Observation
from synguard.detector.counting import MOST_PORTS, MOST_REPORTED, AddressRows, observe, split
from synguard.model import Signal
from synguard.policy.models import Limits, Policy, PrefixRules
from tests.support.traffic import table

POLICY = Policy(
    name="test",
    limits=Limits(half_open=10, syn_rate=100),
    prefix_limits=Limits(half_open=40, syn_rate=500),
    prefixes=PrefixRules(min_sources=4),
)


def rows_of(*tables, weight: float = 1.0, sampled: bool = False) -> AddressRows:
    from tests.support.traffic import together

    merged = together(*tables)
    return AddressRows(merged.remote_high, merged.remote_low, merged.local_port, weight, sampled)


def by_target(observations: list[Observation]) -> dict[str, Observation]:
    return {str(observation.target): observation for observation in observations}


def test_a_source_near_its_limit_is_reported_with_its_count_and_ports() -> None:
    found = by_target(
        observe(
            rows_of(table({"198.51.100.7": 9}), table({"198.51.100.7": 3, "203.0.113.1": 2}, port=443)),
            POLICY, Signal.HALF_OPEN, pressed=False,
        )
    )  # fmt: skip
    assert set(found) == {"198.51.100.7/32"}
    assert found["198.51.100.7/32"].value == 12
    assert found["198.51.100.7/32"].ports == (80, 443)


def test_ipv6_is_counted_by_its_64() -> None:
    found = by_target(
        observe(
            rows_of(table({f"2001:db8:0:1::{i:x}": 1 for i in range(1, 13)})), POLICY, Signal.HALF_OPEN, pressed=False
        )
    )
    assert found["2001:db8:0:1::/64"].value == 12
    assert found["2001:db8:0:1::/64"].addresses == 12


def test_mapped_ipv4_is_ipv4() -> None:
    found = observe(rows_of(table({"198.51.100.7": 11})), POLICY, Signal.HALF_OPEN, pressed=False)
    assert [observation.target.version for observation in found] == [4]


def test_quiet_sources_of_one_24_are_judged_together() -> None:
    crowd = {f"198.51.100.{i}": 2 for i in range(1, 31)}
    found = by_target(observe(rows_of(table(crowd)), POLICY, Signal.HALF_OPEN, pressed=False))
    assert set(found) == {"198.51.100.0/24"}
    assert found["198.51.100.0/24"].value == 60
    assert found["198.51.100.0/24"].sources == 30


def test_one_loud_address_makes_no_offenders_of_its_quiet_neighbours() -> None:
    crowd = {"198.51.100.7": 1000} | {f"198.51.100.{i}": 1 for i in range(10, 20)}
    found = by_target(observe(rows_of(table(crowd)), POLICY, Signal.HALF_OPEN, pressed=False))
    assert set(found) == {"198.51.100.7/32"}


def test_a_prefix_needs_its_distinct_sources() -> None:
    crowd = {f"198.51.100.{i}": 10 for i in range(1, 4)}  # 3 sources at, not over, their limit; 4 are needed
    found = by_target(observe(rows_of(table(crowd)), POLICY, Signal.HALF_OPEN, pressed=False))
    assert all(target.endswith("/32") for target in found)


def test_a_wider_prefix_may_carry_more() -> None:
    """Spread over a /16 with every /24 below its limit: only the /16 shows it, against four times four the limit."""
    crowd = {f"10.9.{i}.1": 4 for i in range(256)}
    policy = POLICY.model_copy(update={"prefixes": PrefixRules(ipv4=(32, 24, 16), min_sources=4)})
    found = by_target(observe(rows_of(table(crowd)), policy, Signal.HALF_OPEN, pressed=False))
    assert found["10.9.0.0/16"].limit == 40 * 16
    assert found["10.9.0.0/16"].value == 1024


def test_forgeable_limits_fall_while_a_listener_is_pressed_and_others_do_not() -> None:
    rows = rows_of(table({"198.51.100.7": 6}))
    [pressed] = observe(rows, POLICY, Signal.HALF_OPEN, pressed=True)
    assert pressed.limit == 2.5
    policy = POLICY.model_copy(update={"limits": Limits(connections=10)})
    [proven] = observe(rows, policy, Signal.CONNECTIONS, pressed=True)
    assert proven.limit == 10


def test_a_single_sampled_syn_leaves_its_source_in_the_prefix_count() -> None:
    """At 1 in 16 every kept SYN reads as 320/s; taken for offenders, they would hide the prefix they flood from."""
    crowd = {f"198.51.100.{i}": 1 for i in range(1, 30)}
    found = by_target(observe(rows_of(table(crowd), weight=320, sampled=True), POLICY, Signal.SYN_RATE, pressed=False))
    assert found["198.51.100.0/24"].sources == 29
    assert found["198.51.100.0/24"].variance == 29 * 320 * 320


def test_a_source_that_scans_many_ports_is_reported_for_all_of_them() -> None:
    tables = [table({"198.51.100.7": 1}, port=1000 + i) for i in range(MOST_PORTS + 1)]
    [observation] = observe(rows_of(*tables), POLICY, Signal.HALF_OPEN, pressed=False)
    assert observation.ports == ()


def test_reports_are_bounded_and_the_largest_are_kept() -> None:
    chance = random.Random(7)
    crowd = {str(ip_address(chance.getrandbits(32))): 6 for _ in range(MOST_REPORTED + 200)}
    found = observe(rows_of(table(crowd | {"198.51.100.7": 50})), POLICY, Signal.HALF_OPEN, pressed=False)
    singles = [observation for observation in found if observation.target.prefixlen == 32]
    assert len(singles) == MOST_REPORTED
    assert max(observation.value for observation in singles) == 50


def test_a_signal_without_limits_is_not_looked_at() -> None:
    assert observe(rows_of(table({"198.51.100.7": 500})), POLICY, Signal.CONNECTIONS, pressed=False) == []


def test_rows_are_split_by_the_ports_that_a_policy_judges() -> None:
    policy = POLICY.model_copy(update={"ports": "80,8000-8100"})
    rows = rows_of(*(table({"198.51.100.7": 1}, port=port) for port in (80, 81, 8000, 8100, 8101)))
    mine, others = split(rows, policy)
    assert mine.port.tolist() == [80, 8000, 8100]
    assert others.port.tolist() == [81, 8101]


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=200))
def test_counts_agree_with_counting_one_by_one(addresses: list[int]) -> None:
    spread = [value & 0x0303_03FF for value in addresses]  # few distinct, so that counts add up
    policy = Policy(name="test", limits=Limits(half_open=1), prefixes=PrefixRules(ipv4=(32,)))
    counts = Counter(str(ip_address(value)) for value in spread)
    found = observe(rows_of(table(counts)), policy, Signal.HALF_OPEN, pressed=False)
    assert {str(o.target): o.value for o in found} == {f"{address}/32": count for address, count in counts.items()}


@given(st.lists(st.integers(0, 2**128 - 1), min_size=1, max_size=100))
def test_every_row_lies_in_the_prefix_it_is_counted_for(addresses: list[int]) -> None:
    policy = Policy(
        name="test",
        limits=Limits(half_open=1),
        prefix_limits=Limits(half_open=1),
        prefixes=PrefixRules(min_sources=2),
    )
    words = [str(ip_address((value & 0xFFFF) << 70 | 0x2001 << 112 | value & 3)) for value in addresses]
    for observation in observe(rows_of(table(Counter(words))), policy, Signal.HALF_OPEN, pressed=False):
        inside = [word for word in words if ip_address(word) in ip_network(observation.target)]
        assert len(inside) >= observation.value
        assert observation.addresses == len(set(inside))


def test_translated_addresses_are_judged_as_the_ipv4_addresses_in_them() -> None:
    """A whole NAT64 prefix lies in one /64, which is one source of native IPv6: all of IPv4 was refused."""
    translated = {f"64:ff9b::c633:{number:x}": 3 for number in range(0x6401, 0x6429)}
    found = by_target(
        observe(rows_of(table(translated | {"64:ff9b::cb00:7107": 12})), POLICY, Signal.HALF_OPEN, pressed=False)
    )
    assert set(found) == {"64:ff9b::cb00:7107/128", "64:ff9b::c633:6400/120"}
    assert found["64:ff9b::c633:6400/120"].sources == 40
    many = {f"64:ff9b::{number:x}:1": 1 for number in range(0x100, 0x300)}
    assert observe(rows_of(table(many)), POLICY, Signal.HALF_OPEN, pressed=False) == []


def test_prefixes_of_translators_that_the_operator_names_are_judged_likewise() -> None:
    named = POLICY.model_copy(update={"prefixes": POLICY.prefixes.with_embedding([IPv6Network("2001:db8:64::/96")])})
    rows = rows_of(table({f"2001:db8:64::c633:{number:x}": 3 for number in range(0x6401, 0x6429)}))
    assert set(by_target(observe(rows, POLICY, Signal.HALF_OPEN, pressed=False))) == {"2001:db8:64::/64"}
    assert set(by_target(observe(rows, named, Signal.HALF_OPEN, pressed=False))) == {"2001:db8:64::c633:6400/120"}
