"""Cover: the narrowest networks that hold the offenders."""

from __future__ import annotations

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from synguard.addresses import NetworkIndex
from synguard.decision.prefix_aggregation import Offender, aggregated_prefixes
from synguard.model import Evidence, Signal
from synguard.policy.models import Limits, Policy, PrefixRules

POLICY = Policy(
    name="test",
    limits=Limits(half_open=10),
    prefix_limits=Limits(half_open=40),
    prefixes=PrefixRules(ipv4=(32, 24, 20), ipv6=(64, 56, 48), min_sources=4, min_share=0.5),
)


def offender(target: str, value: float = 20, limit: float = 10, ports: tuple[int, ...] = (80,)) -> Offender:
    return Offender(ip_network(target), 120, (Evidence(Signal.HALF_OPEN, value, limit, ports),))


def covered(*items: Offender) -> dict[str, Offender]:
    return {str(item.target): item for item in aggregated_prefixes(items, POLICY)}


def test_few_offenders_stay_apart() -> None:
    assert set(covered(*(offender(f"198.51.100.{i}/32") for i in range(3)))) == {f"198.51.100.{i}/32" for i in range(3)}


def test_enough_offenders_become_their_24_with_their_evidence_added_up() -> None:
    found = covered(*(offender(f"198.51.100.{i}/32", ports=(80 + i % 2,)) for i in range(5)))
    [evidence] = found["198.51.100.0/24"].evidence
    assert (evidence.value, evidence.limit, evidence.sources, evidence.ports) == (100, 40, 5, (80, 81))


def test_enough_offenders_that_break_no_limit_together_stay_apart() -> None:
    quiet = [offender(f"198.51.100.{i}/32", value=9, limit=2.5) for i in range(4)]  # 36 together, pressed limit 10
    assert set(covered(*quiet)) == {"198.51.100.0/24"}
    lone = [offender(f"198.51.100.{i}/32", value=9.9, limit=10) for i in range(4)]
    assert set(covered(*lone)) == {f"198.51.100.{i}/32" for i in range(4)}


def test_the_parents_limit_is_lowered_as_the_childrens_are() -> None:
    found = covered(*(offender(f"198.51.100.{i}/32", limit=2.5) for i in range(4)))
    assert found["198.51.100.0/24"].evidence[0].limit == 10


def test_a_wider_prefix_needs_half_of_its_narrower_ones() -> None:
    seven = [offender(f"10.0.{i}.0/24", value=200, limit=40) for i in range(7)]
    assert len(covered(*seven)) == 7
    assert set(covered(*seven, offender("10.0.7.0/24", value=200, limit=40))) == {"10.0.0.0/20"}


def test_what_an_offending_prefix_covers_needs_no_ban_of_its_own() -> None:
    assert set(covered(offender("198.51.100.7/32"), offender("198.51.100.0/24"))) == {"198.51.100.0/24"}


def test_ipv6_64s_become_their_56() -> None:
    found = covered(*(offender(f"2001:db8:0:{i:x}::/64") for i in range(4)))
    assert set(found) == {"2001:db8::/56"}


def test_more_ports_than_a_rule_can_name_are_all_ports() -> None:
    many = [offender(f"198.51.100.{i}/32", ports=tuple(range(100 * i, 100 * i + 6))) for i in range(4)]
    [item] = covered(*many).values()
    assert item.ports == ()


@given(st.sets(st.integers(0, 2**32 - 1), max_size=60))
def test_every_offender_is_covered_exactly_once(values: set[int]) -> None:
    from ipaddress import IPv4Network

    targets = [IPv4Network(value & 0x0000_03FF | 10 << 24) for value in values]
    found = [item.target for item in aggregated_prefixes([offender(str(target)) for target in targets], POLICY)]
    assert all(NetworkIndex(found).covering(target) for target in targets)
    assert len(found) == len(set(found))
    assert all(NetworkIndex(other for other in found if other != one).covering(one) is None for one in found)
