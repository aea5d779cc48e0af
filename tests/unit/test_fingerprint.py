"""Headers, the second of handshakes, and lost samples: what the detector hands on about a flood."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network

import numpy as np
import pytest

from synguard.addresses import EMBEDDING
from synguard.detector.detector import Detector
from synguard.detector.dispersion import dispersion
from synguard.detector.fingerprint import fingerprint, headers
from synguard.detector.handshakes import LOOKBACK_S, PAUSE_S, HandshakeWindow
from synguard.model import Signal
from synguard.policy.models import Limits, Policy
from synguard.readings import Readings, SynSample
from tests.support.traffic import TOOL, Header, columns, counters, natural, syns

EVERYWHERE = [f"{20 + i}.{i}.1.1" for i in range(200)]
POLICY = Policy(name="default", limits=Limits(syn_rate=100))


def of(*sent: Header) -> SynSample:
    looks = {f"{20 + i}.1.1.1": header for i, header in enumerate(sent)}
    return syns(1.0, dict.fromkeys(looks, 1), 1.0, header_of=looks.__getitem__)


def test_the_commonest_header_is_named_with_its_share() -> None:
    found = fingerprint(headers(of(TOOL, TOOL, TOOL, (113, 8192, 6))))
    assert found is not None
    assert (found.share, found.ttl, found.tcp_window, found.options) == (0.75, *TOOL)
    assert found.header == headers(of(TOOL))[0]


@pytest.mark.parametrize("other", [(53, *TOOL[1:]), (TOOL[0], 1, TOOL[2]), (*TOOL[:2], 1)])
def test_headers_that_differ_in_one_part_are_different(other: Header) -> None:
    assert headers(of(TOOL))[0] != headers(of(other))[0]


@pytest.mark.parametrize(("ttl", "odd"), [(64, 0), (24, 0), (23, 1), (1, 1), (65, 1), (87, 1), (88, 0), (128, 0)])
def test_a_ttl_is_odd_where_no_path_from_a_known_system_ends(ttl: int, odd: float) -> None:
    found = fingerprint(headers(of((ttl, 1, 1))))
    assert found is not None
    assert found.odd_ttl == odd


def test_a_crowd_shares_no_header_and_has_no_odd_ttl() -> None:
    found = fingerprint(headers(syns(1.0, dict.fromkeys(EVERYWHERE, 1), 1.0, header_of=natural)))
    assert found is not None
    assert found.share < 0.1
    assert found.odd_ttl == 0


def test_no_headers_are_no_fingerprint() -> None:
    assert fingerprint(np.empty(0, np.uint64)) is None


def test_a_loud_source_counts_as_one_network_whatever_it_sends() -> None:
    loud = syns(1.0, {"198.51.100.7": 5000} | dict.fromkeys(EVERYWHERE, 1), 1.0, header_of=natural)
    found = dispersion(loud.source_high, loud.source_low, headers=headers(loud))
    assert found is not None
    assert found.fingerprint is not None
    assert found.networks == len(EVERYWHERE) + 1
    assert found.fingerprint.share < 0.1


def test_both_families_are_looked_at() -> None:
    addresses = [f"2400:{i:x}::1" for i in range(1, 50)] + EVERYWHERE[:50]
    sent = {address: TOOL if ":" in address else natural(address) for address in addresses}
    sample = syns(1.0, dict.fromkeys(addresses, 2), 1.0, header_of=sent.__getitem__)
    found = dispersion(sample.source_high, sample.source_low, headers=headers(sample))
    assert found is not None
    assert found.fingerprint is not None
    assert found.networks == 99
    assert found.fingerprint.share == pytest.approx(49 / 99)


def test_half_open_sockets_have_no_headers() -> None:
    found = dispersion(*columns(EVERYWHERE))
    assert found is not None
    assert found.fingerprint is None
    assert found.networks == 200


def test_suffering_lasts_from_the_first_full_queue_and_survives_a_short_pause() -> None:
    window = HandshakeWindow()
    assert window.follow(None, 10.0, suffering=False).suffering_s == 0
    assert window.follow(None, 10.2, suffering=True).suffering_s == 0
    assert window.follow(None, 10.4, suffering=False).suffering_s == pytest.approx(0.2)
    assert window.follow(None, 10.2 + PAUSE_S, suffering=True).suffering_s == pytest.approx(PAUSE_S)
    assert window.follow(None, 13.2, suffering=True).suffering_s == pytest.approx(3.0), "looked at seldom"
    assert window.follow(None, 13.3 + PAUSE_S, suffering=False).suffering_s == 0
    assert window.follow(None, 13.4 + PAUSE_S, suffering=True).suffering_s == 0


def test_rates_are_those_of_the_last_second() -> None:
    window = HandshakeWindow()
    for tick in range(40):
        at, late = tick / 20, tick > 20
        handshakes = window.follow(counters(at, PassiveOpens=100 * (tick - 20) * late), at, suffering=True)
    assert handshakes.completed_pps == pytest.approx(2000, rel=2 / 20 / LOOKBACK_S)


def test_one_reading_of_counters_is_no_rate() -> None:
    assert HandshakeWindow().follow(counters(1.0, EmbryonicRsts=5), 1.0, suffering=True).resets_pps == 0


def value_of(sample: SynSample, address: str) -> float:
    detector = Detector([POLICY], seed=1)
    seen = detector.assess(Readings(at=1.0, syns=sample))
    return {str(one.target.network_address): one.value for one in seen.observations}[address]


def test_lost_samples_enter_the_rate_of_their_family_alone() -> None:
    both = syns(1.0, {"198.51.100.7": 100, "2001:db8::7": 100}, 0.5, one_in=4)
    assert value_of(both, "198.51.100.7") == pytest.approx(800)
    lossy = replace(both, lost=300, lost_ipv6=0)
    assert value_of(lossy, "198.51.100.7") == pytest.approx(3200)
    assert value_of(lossy, "2001:db8::") == pytest.approx(800)
    assert value_of(replace(both, lost=50, lost_ipv6=50), "2001:db8::") == pytest.approx(1200)


def test_lost_samples_are_part_of_the_floods_size() -> None:
    sample = replace(syns(1.0, {"198.51.100.7": 100}, 0.5, one_in=4), lost=25)
    assert Detector([POLICY], seed=1).assess(Readings(at=1.0, syns=sample)).flood.syn_pps == pytest.approx(1000)


def test_a_source_is_told_by_how_many_of_its_syns_bear_the_floods_header() -> None:
    detector = Detector([POLICY], seed=1)
    crowd = dict.fromkeys(EVERYWHERE, 1)
    loud = {"198.51.100.7": 100, "198.51.100.8": 100}
    sample = syns(1.0, crowd | loud, 0.5, header_of=lambda one: natural(one) if one.endswith(".8") else TOOL)
    seen = detector.assess(Readings(at=1.0, syns=sample)).observations
    found = {str(one.target): one.alike for one in seen if one.signal is Signal.SYN_RATE}
    assert found == {"198.51.100.7/32": 1.0, "198.51.100.8/32": 0.0}


@pytest.mark.parametrize(
    ("prefix", "embedding"), [("64:ff9b::", ()), ("64:ff9b:1:7::", ()), ("2001:db8:64::", ("2001:db8:64::/96",))]
)
def test_a_translated_flood_spreads_as_the_ipv4_addresses_in_it(prefix: str, embedding: tuple[str, ...]) -> None:
    """All of IPv4 lies in one /32 behind NAT64: such a flood came from one network, never from everywhere."""
    rows = columns([f"{prefix}{address}" for address in EVERYWHERE])
    found = dispersion(*rows, embedding=(*EMBEDDING, *map(IPv6Network, embedding)))
    assert found is not None
    assert (found.sources, found.networks, found.versions) == (200, 200, (6,))
