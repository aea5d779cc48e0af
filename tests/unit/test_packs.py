"""The packs that come with synguard: they load, say for whom they are, and hold their promises by the CUSUM's rule."""

from __future__ import annotations

import math

import pytest

from synguard.model import Signal
from synguard.policy.load import load_pack, load_policies, pack_names, packs_directory
from synguard.policy.models import Config, Limits, Policy
from synguard.policy.warnings import policy_warnings

PUBLIC = ("default", "web")
"""Packs for servers that anyone reaches directly, from behind any NAT."""
EVERYWHERE = ("default", "strict")
AGAINST_FLOODS = ("default", "web", "bastion", "strict", "mail")


def policies_of(pack: str) -> tuple[Policy, ...]:
    return load_pack(packs_directory() / f"{pack}.toml").policy


def seconds_to_act(
    policy: Policy, signal: Signal, value: float, *, prefix: bool = False, pressed: bool = False
) -> float:
    """How long a constant value is borne; infinite at or below the limit."""
    limits: Limits = policy.prefix_limits if prefix else policy.limits
    limit = limits.of(signal)
    if limit is None:
        return math.inf
    if pressed and signal.forgeable:
        limit *= policy.pressed
    return policy.hold.of(signal) * limit / (value - limit) if value > limit else math.inf


def peak_score(policy: Policy, signal: Signal, values: list[float], step_s: float, *, prefix: bool = False) -> float:
    """The highest score over a series of values, one each ``step_s``."""
    limit = (policy.prefix_limits if prefix else policy.limits).of(signal)
    assert limit is not None
    gathered = highest = 0.0
    for value in values:
        gathered = max(0.0, gathered + (value - limit) * step_s)
        highest = max(highest, gathered)
    return 100 * highest / (limit * policy.hold.of(signal))


def test_the_packs_that_the_documents_name_are_there() -> None:
    assert set(pack_names()) >= {"default", "web", "bastion", "strict", "mail", "proxied"}


@pytest.mark.parametrize("pack", pack_names())
def test_every_pack_loads_and_says_for_whom_it_is_and_what_it_assumes(pack: str) -> None:
    policies = policies_of(pack)
    head = (packs_directory() / f"{pack}.toml").read_text().split("[[policy]]")[0]
    assert policies
    assert head.startswith(f"# {pack}: for ")
    assert "It assumes:" in head
    assert all(policy.about for policy in policies)


@pytest.mark.parametrize("pack", pack_names())
def test_every_pack_works_alone_and_before_default_without_a_policy_that_never_judges(pack: str) -> None:
    assert load_policies(Config(policies=(pack,)))
    if pack not in EVERYWHERE:
        assert policy_warnings(load_policies(Config(policies=(pack, "default"))), Config()) == ()


@pytest.mark.parametrize("pack", pack_names())
def test_bans_on_forgeable_evidence_begin_within_minutes_and_stay_under_an_hour(pack: str) -> None:
    for policy in policies_of(pack):
        assert policy.bans.first_forgeable <= 300
        assert policy.bans.cap_forgeable <= 3600
        assert policy.bans.cap_forgeable <= policy.bans.cap


@pytest.mark.parametrize("pack", AGAINST_FLOODS)
def test_a_flood_of_10000_syns_a_second_from_128_sources_is_far_over_the_pressed_limit(pack: str) -> None:
    for policy in policies_of(pack):
        limit = policy.limits.of(Signal.SYN_RATE)
        assert limit is not None
        assert 2.5 * limit * policy.pressed <= 10_000 / 128
        assert seconds_to_act(policy, Signal.SYN_RATE, 10_000 / 128, pressed=True) <= 0.3


@pytest.mark.parametrize("pack", pack_names())
def test_a_source_that_fills_a_backlog_of_128_is_acted_on_at_once(pack: str) -> None:
    for policy in policies_of(pack):
        assert seconds_to_act(policy, Signal.HALF_OPEN, 129, pressed=True) <= 0.2
        assert seconds_to_act(policy, Signal.HALF_OPEN, 129) <= 1.0


@pytest.mark.parametrize("pack", AGAINST_FLOODS)
@pytest.mark.parametrize("pressed", [True, False])
def test_a_network_that_floods_as_one_is_acted_on_quickly(pack: str, pressed: bool) -> None:
    """10,000 SYN/s from one /24 or /64; and from a /22 whose 1,024 sources each stay under the source limit."""
    for policy in policies_of(pack):
        whole = seconds_to_act(policy, Signal.SYN_RATE, 10_000, prefix=True, pressed=pressed)
        quarter = seconds_to_act(policy, Signal.SYN_RATE, 10_000 / 4, prefix=True, pressed=pressed)
        source_of_v6 = seconds_to_act(policy, Signal.SYN_RATE, 10_000, pressed=pressed)
        assert whole <= 0.05
        assert source_of_v6 <= 0.05
        assert quarter <= 0.3


@pytest.mark.parametrize("pack", PUBLIC)
class TestInnocentsStayBelowTheLimits:
    """Sources that look heavy and are not; none may come to a score of 100 in a pack for the public."""

    def test_an_office_of_100_behind_one_address_with_four_connections_each(self, pack: str) -> None:
        for policy in policies_of(pack):
            assert math.isinf(seconds_to_act(policy, Signal.CONNECTIONS, 100 * 4))

    def test_an_office_of_100_that_opens_one_page_in_the_same_second_with_six_connections_each(self, pack: str) -> None:
        """600 handshakes in one second at a round trip of 200 ms, then silence; kept connections close after 4 s."""
        step, burst = 0.1, 600.0
        for policy in policies_of(pack):
            series = [burst] * 10 + [0.0] * 50
            assert peak_score(policy, Signal.CONNECTION_RATE, series, step) < 100
            assert peak_score(policy, Signal.HALF_OPEN, [burst * 0.2] * 10 + [0.0] * 50, step) < 100
            assert peak_score(policy, Signal.CONNECTIONS, [burst] * 40 + [0.0] * 50, step) < 100

    def test_a_flash_crowd_of_500_clients_in_5_s_even_if_one_network_holds_them_all(self, pack: str) -> None:
        rate = 500 * 6 / 5
        for policy in policies_of(pack):
            for signal, value in (
                (Signal.SYN_RATE, rate),
                (Signal.CONNECTION_RATE, rate),
                (Signal.CONNECTIONS, 3000),
                (Signal.HALF_OPEN, rate * 0.2),
            ):
                assert math.isinf(seconds_to_act(policy, signal, value, prefix=True)), signal

    def test_health_checkers_and_crawlers(self, pack: str) -> None:
        for policy in policies_of(pack):
            for signal, value in (
                (Signal.SYN_RATE, 20),
                (Signal.CONNECTION_RATE, 20),
                (Signal.CONNECTIONS, 100),
                (Signal.HALF_OPEN, 5),
            ):
                assert math.isinf(seconds_to_act(policy, signal, value)), signal
            assert math.isinf(seconds_to_act(policy, Signal.SYN_RATE, 20, pressed=True))


@pytest.mark.parametrize("pack", PUBLIC)
def test_a_connection_flood_from_one_real_address_is_acted_on_within_seconds(pack: str) -> None:
    for policy in policies_of(pack):
        assert seconds_to_act(policy, Signal.CONNECTIONS, 2000) <= 3
        assert seconds_to_act(policy, Signal.CONNECTION_RATE, 2000) <= 1


def test_behind_a_proxy_no_number_of_completed_connections_makes_an_offender() -> None:
    for policy in policies_of("proxied"):
        assert policy.scope == "new"
        assert policy.limits.connections is None
        assert policy.limits.connection_rate is None
        assert policy.prefix_limits == Limits()
        assert policy.prefixes.ipv4 == (32,)
        assert policy.prefixes.ipv6 == (64,)
