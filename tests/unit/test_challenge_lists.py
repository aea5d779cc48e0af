"""The program finds each ban that concerns a source."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_network

from synguard.addresses import Network, parse_network
from synguard.decision.bans import ActiveBans
from synguard.enforcer.challenge.layout import PROTECTED
from synguard.enforcer.challenge.lists import Lists, lists
from synguard.model import Action, Ban, Origin
from synguard.syn_header import SynHeader
from tests.support.manual_clock import START
from tests.unit.test_active_bans import ban

SOURCE = "198.51.100.7"


def challenge(target: str, *ports: int, lasts_s: float = 60, action: Action = Action.CHALLENGE) -> Ban:
    made = ban(target, ports=ports, lasts_s=lasts_s)
    return replace(made, action=action, origin=Origin.AUTO, id=f"b{len(ports)}-{lasts_s:.0f}-{sum(ports)}")


def concerning(bans: Mapping[int, Ban], found: Lists, source: Network) -> list[int]:
    """Return the places that the program comes past for a source, as ``hardest`` in bpf/challenge.bpf.c does."""
    widest_last = sorted(found.networks, key=lambda network: -network.prefixlen)
    place = next((found.networks[network] for network in widest_last if source.subnet_of(network)), 0)  # type: ignore[arg-type]
    passed: list[int] = []
    while place and place != PROTECTED:
        passed.append(place)
        assert len(passed) <= len(bans), "a chain that goes round"
        place = found.after.get(place, 0)
    return passed


def test_however_many_bans_concern_a_source_the_program_comes_past_each_of_them_once() -> None:
    """Of five bans by hand, a port each, the fifth was listed as a challenge and stopped nothing."""
    chance = random.Random(1)
    targets = [f"198.51.{third}.0/{length}" for third in range(2) for length in (16, 20, 24, 30)] + [SOURCE]
    targets = [str(ip_network(target, strict=False)) for target in targets]
    actions = (Action.CHALLENGE, Action.LIMIT, Action.DROP, Action.REJECT)
    for _ in range(50):
        bans = {
            place: challenge(chance.choice(targets), *ports, action=chance.choice(actions))
            for place, ports in enumerate((chance.choice(((), (port,))) for port in range(60)), 1)
        }
        found = lists(bans, ())
        for source in (parse_network(SOURCE), parse_network("198.51.0.200"), parse_network("198.51.99.1")):
            wanted = [place for place, ban in bans.items() if source.subnet_of(ban.target)]  # type: ignore[arg-type]
            passed = concerning(bans, found, source)
            assert sorted(passed) == wanted
            lengths = [bans[place].target.prefixlen for place in passed]
            assert lengths == sorted(lengths, reverse=True), "of one step the narrowest target's comes first"


def test_no_ban_concerns_a_protected_network_and_those_of_a_header_are_found_one_after_the_other() -> None:
    inside, around = challenge(SOURCE, 80), challenge("198.51.100.0/24")
    header = SynHeader(ttl=(1, 64), window=1, mss=1, options=1, length=40)
    tools = [replace(challenge(f"203.0.113.{host}", 80, action=Action.DROP), header=header) for host in range(9)]
    bans = dict(enumerate((inside, around, *tools), 1))
    found = lists(bans, [parse_network("198.51.100.0/28")])
    assert concerning(bans, found, parse_network(SOURCE)) == []
    assert concerning(bans, found, parse_network("198.51.100.99")) == [2]
    [place], passed = found.headers.values(), set()
    while place:
        passed.add(place)
        place = found.after.get(place, 0)
    assert passed == set(range(3, 12))


def test_a_ban_takes_the_ports_of_those_like_it_and_all_of_them_at_most_where_that_is_allowed() -> None:
    standing = [
        challenge(SOURCE, 22, 80),
        challenge(SOURCE, 443, lasts_s=1),
        challenge(SOURCE, 25, action=Action.LIMIT),
    ]
    active_bans, until = ActiveBans(standing), START.replace(second=START.second + 2)
    fresh = challenge(SOURCE, 8080)
    assert active_bans.with_ports_of(fresh, until, up_to_all=True).ports == (22, 80, 8080)
    many = challenge(SOURCE, *range(1000, 1015))
    assert active_bans.with_ports_of(many, until, up_to_all=True).ports == ()
    assert active_bans.with_ports_of(many, until, up_to_all=False) == many
    assert active_bans.with_ports_of(challenge(SOURCE), until, up_to_all=True).ports == ()
    by_hand = ActiveBans([replace(standing[0], origin=Origin.MANUAL)])
    assert by_hand.with_ports_of(fresh, until, up_to_all=True) == fresh
