"""Which served clients pass the bans around them that stop new connections."""

from __future__ import annotations

from dataclasses import replace

import pytest

from synguard.addresses import parse_network
from synguard.enforcer.held_bans import HeldBans
from synguard.enforcer.iptables.rules import set_rules, tables
from synguard.enforcer.iptables.set_members import place
from synguard.enforcer.names import Family
from synguard.enforcer.nftables.layout import FIXED, set_for
from synguard.enforcer.plane import Desired
from synguard.enforcer.reconcile.delta import as_kernel_bans, desired_members
from synguard.enforcer.reconcile.desired import DesiredState
from synguard.model import NO_HITS, Ban, Origin
from synguard.packed_bans import PackedBans
from tests.support.manual_clock import START
from tests.unit.test_active_bans import HANDSHAKES, ban

PEER = parse_network("198.51.100.9")


def on_syns(*ports: int) -> Ban:
    return ban("198.51.100.0/24", ports=ports, id_="on-syns")


def on_handshakes(*ports: int) -> Ban:
    return replace(ban("198.51.100.0/24", ports=ports, id_="on-handshakes"), evidence=HANDSHAKES)


def by_hand(*ports: int) -> Ban:
    return replace(ban("198.51.100.9", ports=ports, id_="by-hand"), origin=Origin.MANUAL)


@pytest.mark.parametrize(
    ("bans", "passes"),
    [
        ((), False),
        ((on_syns(443),), True),
        ((on_handshakes(8443),), False),
        ((by_hand(8443),), False),
        ((on_syns(443), on_handshakes(443)), True),
        ((on_syns(443, 80), on_handshakes(443, 8443)), True),
        ((on_syns(), on_handshakes(8443)), True),
        ((on_syns(443), on_handshakes()), False),
        ((on_syns(443), on_handshakes(8443)), True),
        ((on_syns(443), by_hand(8443)), False),
    ],
)
def test_a_served_client_passes_unless_a_person_or_a_ban_on_all_ports_refuses_it(
    bans: tuple[Ban, ...], passes: bool
) -> None:
    """A ban on connections to 8443 had the served clients of its /24 refused on 443 once SYNs came there.

    Where it does pass, a ban on connections to some ports is asked before the exception.
    """
    state = DesiredState()
    for one in bans:
        state.put(PackedBans([one]))
    assert (PEER in state.desired((), (PEER,)).proven) is passes
    assert (PEER in Desired.of(bans, (), (PEER,), START).proven) is passes


def test_what_is_asked_before_the_exceptions_is_held_apart_from_what_is_asked_after_them() -> None:
    """A flooder that was refused on 8443 had all ports open again once a ban on SYNs to 443 let it through."""
    after, before = on_syns(443), on_handshakes(443)
    assert set_for(before).chain == "handshake-drop-4"
    assert set_for(after).chain == "port-drop-4"
    assert place(before) == ("synguard-handshake-drop-4", 1)
    for of_hand in (by_hand(443), replace(by_hand(443), evidence=HANDSHAKES), on_handshakes()):
        assert not of_hand.refuses_proven
    members = desired_members({one.id: one for one in (after, before)}, START)
    assert members.bans.keys() == {"on-syns", "on-handshakes"}, "neither takes the port from the other"
    held = {one.id: as_kernel_bans(one, NO_HITS) for one in (after, before)}
    columns = HeldBans(held)
    assert {key: columns[key] for key in columns} == held
    columns.begin([before])
    assert columns["on-handshakes"].refuses_proven
    state = DesiredState()
    state.put(PackedBans([after, before]))
    state.take_changes()
    assert dict(state.members.bans) == members.bans


@pytest.mark.parametrize("family", [4, 6])
def test_both_planes_ask_for_handshakes_after_the_protected_and_before_the_proven(family: Family) -> None:
    jumps = [rule.text.removeprefix("jump ") for rule in FIXED[f"drop-syn-{family}"]]
    assert jumps == [f"{kind}-{family}" for kind in ("handshake-drop", "proven", "new-drop", "port-drop")]
    asked = [rule.match_set[0] for rule in set_rules(tables((family,))[0]) if rule.match_set]
    kinds = ("allow", "all-drop", "handshake-drop", "proven", "new-drop", "port-drop")
    assert asked == [f"synguard-{kind}-{family}" for kind in kinds]
