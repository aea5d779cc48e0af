"""Of more bans than one list of the program holds, those stay that matter."""

from __future__ import annotations

from dataclasses import replace

from synguard.decision.bans import ActiveBans
from synguard.enforcer.challenge.layout import BANS_AT_ONCE
from synguard.enforcer.challenge.lists import lists
from synguard.model import Action, Ban, Origin
from tests.support.manual_clock import START
from tests.unit.test_active_bans import ban

SOURCE = "198.51.100.7"


def challenge(target: str, *ports: int, lasts_s: float = 60, action: Action = Action.CHALLENGE) -> Ban:
    made = ban(target, ports=ports, lasts_s=lasts_s)
    return replace(made, action=action, origin=Origin.AUTO, id=f"b{len(ports)}-{lasts_s:.0f}-{sum(ports)}")


def listed(*bans: Ban) -> list[Ban]:
    by_place = dict(enumerate(bans, 1))
    return [by_place[place] for place in lists(by_place, ()).networks[bans[0].target]]


def test_bans_that_a_wider_one_makes_needless_leave_room_for_others() -> None:
    grown = [challenge(SOURCE, *range(1, count + 1)) for count in range(1, 8)]
    wide = challenge("198.51.100.0/24", 900)
    assert listed(*grown, wide) == [grown[-1], wide]
    assert listed(grown[0], grown[1]) == [grown[1], grown[0]], "few fit as they are, the one with most ports first"


def test_one_that_ends_sooner_makes_none_needless_and_the_hardest_step_comes_first() -> None:
    soon = challenge(SOURCE, *range(1, 9), lasts_s=5)
    others = [challenge(SOURCE, port) for port in range(1, 9)]
    limit = challenge(SOURCE, 3, action=Action.LIMIT)
    found = listed(*others, soon, limit)
    assert found[:2] == [limit, soon]
    assert len(found) == BANS_AT_ONCE


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
