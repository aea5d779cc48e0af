"""Headers of SYNs compared exactly, and which of them served clients send."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import numpy as np
import pytest

from synguard.agent.header_looks import EVERY_S, LOOK_S, HeaderLooks
from synguard.decision import syn_headers
from synguard.decision.proven import ProvenPeers
from synguard.decision.syn_headers import CLIENTS, LATELY, LOOKS, SETTLED_S, HeaderKey, ServedHeaders, Sightings
from synguard.enforcer.challenge.layout import SIGHTING, SOURCE
from synguard.errors import PlaneError
from tests.support.traffic import Header, columns, syns

TOOL = (52, 512, 7)
KEY = HeaderKey(4, 7, 512, 1460, 60)


def sightings(*addresses: str, header: Header = TOOL, syns_each: int = 1) -> Sightings:
    sample = syns(0.0, dict.fromkeys(addresses, syns_each), 1.0, header_of=lambda _: header, whole=True)
    found = Sightings.of((sample,))
    assert found is not None
    return found


def proven(*addresses: str) -> ProvenPeers:
    peers = ProvenPeers(600.0, 1000)
    peers.add(columns(addresses), 0.0)
    return peers


def looked(headers: ServedHeaders, *addresses: str, looks: int = 1, header: Header = TOOL) -> None:
    for _ in range(looks):
        headers.look(syns(0.0, dict.fromkeys(addresses, 1), 1.0, header_of=lambda _: header, whole=True), 0.0)
    headers.settle(proven("192.0.2.1", "2001:db8::1"), SETTLED_S)


def test_samples_without_whole_headers_say_nothing() -> None:
    assert Sightings.of((syns(0.0, {"192.0.2.1": 3}, 1.0),)) is None
    assert Sightings.of(()) is None


def test_the_rows_of_a_target_are_those_of_its_network_version_and_ports() -> None:
    rows = sightings("192.0.2.1", "192.0.2.9", "198.51.100.1", "2001:db8::1")
    sizes = {network: len(rows.of_target(ip_network(network), ())) for network in ("0.0.0.0/0", "::/0", "192.0.2.0/24")}
    assert sizes == {"0.0.0.0/0": 3, "::/0": 1, "192.0.2.0/24": 2}
    assert len(rows.of_target(ip_network("192.0.2.9"), (80,))) == 1
    assert len(rows.of_target(ip_network("192.0.2.9"), (443,))) == 0


def test_the_commonest_header_is_that_of_most_syns_not_of_most_rows() -> None:
    loud = sightings("192.0.2.1", header=(52, 9, 9))
    loud = replace(loud, syns=np.array([50]))
    quiet = sightings(*(f"198.51.100.{host}" for host in range(1, 20)))
    both = Sightings(*(np.concatenate([getattr(loud, n), getattr(quiet, n)]) for n in Sightings.__slots__))  # type: ignore[attr-defined]
    assert both.commonest() == HeaderKey(4, 9, 9, 1460, 60)
    assert quiet.commonest() == KEY
    assert both.bear(KEY).sum() == 19


def test_the_same_numbers_in_ipv6_are_another_header() -> None:
    headers = ServedHeaders()
    looked(headers, "2001:db8::1")
    assert KEY._replace(version=6) in headers
    assert KEY not in headers


def test_only_what_served_clients_sent_is_theirs() -> None:
    headers = ServedHeaders()
    looked(headers, "198.51.100.7")
    assert KEY not in headers
    looked(headers, "192.0.2.1", header=(1, *TOOL[1:]))
    assert KEY in headers, "whatever the TTL"


def test_enough_is_known_after_so_many_looks_at_so_many_syns_of_served_clients() -> None:
    headers = ServedHeaders()
    looked(headers, "192.0.2.1", looks=LOOKS)
    assert (
        headers.why_unknown() == f"which headers served clients send is known from {LOOKS} of {CLIENTS} of their SYNs"
    )
    looked(headers, "192.0.2.1", looks=CLIENTS - LOOKS)
    assert headers.why_unknown() == ""


def test_a_header_is_remembered_for_a_day_of_calm_and_through_any_attack() -> None:
    headers = ServedHeaders()
    looked(headers, "192.0.2.1")
    headers.settle(proven(), 10_000_000.0)
    assert KEY in headers, "time under attack does not count"
    looked(headers, "198.51.100.7", looks=LATELY)
    assert KEY in headers
    looked(headers, "198.51.100.7", looks=1)
    assert KEY not in headers


def test_more_headers_than_are_remembered_make_none_of_them_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syn_headers, "MOST_HEADERS", 3)
    headers = ServedHeaders()
    looked(headers, "192.0.2.1", looks=CLIENTS)
    for window in range(3):
        looked(headers, "192.0.2.1", header=(52, window, 7))
    assert headers.why_unknown() == "served clients send more headers than are remembered"


def test_in_an_attack_a_header_is_a_client_s_once_the_same_client_sends_it_again() -> None:
    headers, peers = ServedHeaders(), proven("192.0.2.1", "192.0.2.2")
    headers.heed(sightings("192.0.2.1", "198.51.100.7"), [KEY], peers, 10.0)
    headers.heed(sightings("192.0.2.2", "198.51.100.7"), [KEY], peers, 11.0)
    assert KEY not in headers
    headers.heed(sightings("192.0.2.1"), [KEY], peers, 12.0)
    assert KEY in headers


class FakeCounter:
    """Counts what it is told; may refuse to."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, int]] = []
        self.taken = 0
        self.broken = False

    def count(self, seconds: float, one_in: int) -> None:
        self.asked.append((seconds, one_in))

    def take(self) -> tuple[Any, Any]:
        if self.broken:
            raise PlaneError("reading the map sources", "it is gone")
        self.taken += 1
        source, seen = np.zeros(1, SOURCE), np.zeros(1, SIGHTING)
        seen["syns"], seen["mss"], seen["length"] = 1, 1460, 60
        return source, seen

    def total(self) -> int:
        return 0


def test_a_look_counts_for_a_second_of_every_half_minute_of_calm() -> None:
    looks, counter = HeaderLooks(), FakeCounter()
    found = [looks.follow(lambda: counter, at / 10, free=True) for at in range(int(20 * EVERY_S))]
    assert [at / 10 for at, sample in enumerate(found) if sample is not None] == [LOOK_S, EVERY_S + LOOK_S]
    assert counter.asked == [(LOOK_S, 1)] * 2
    (sample, _) = (one for one in found if one is not None)
    assert (sample.window_s, len(sample)) == (LOOK_S, 1)
    assert sample.rest is not None
    assert (sample.rest[0][0], sample.rest[1][0]) == (1460, 60)


def test_where_no_look_is_due_nobody_asks_whether_the_program_is_attached() -> None:
    """It was asked in each tick, at the cost of one netlink socket for each interface and direction."""
    looks, counter = HeaderLooks(), FakeCounter()
    asked: list[float] = []

    def find(at: float) -> FakeCounter:
        asked.append(at)
        return counter

    for at in range(int(2 * EVERY_S)):
        looks.follow(lambda at=at: find(at), float(at), free=True)  # type: ignore[misc]  # mypy cannot infer it
    assert asked == [0, LOOK_S, EVERY_S, EVERY_S + LOOK_S]


def test_a_look_that_is_disturbed_takes_nothing_from_those_who_count() -> None:
    looks, counter = HeaderLooks(), FakeCounter()
    looks.follow(lambda: counter, 0.0, free=True)
    assert looks.follow(lambda: counter, 0.5, free=False) is None
    assert looks.follow(lambda: counter, 1.5, free=True) is None
    assert counter.taken == 1
    assert looks.follow(lambda: None, EVERY_S, free=True) is None
    counter.broken = True
    assert looks.follow(lambda: counter, EVERY_S + 1, free=True) is None
    counter.broken = False
    looks.follow(lambda: counter, 2 * EVERY_S + 1, free=True)
    assert looks.follow(lambda: counter, 2 * EVERY_S + 2, free=True) is not None
