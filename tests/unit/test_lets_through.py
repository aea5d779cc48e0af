"""Which served clients pass the bans around them that stop new connections."""

from __future__ import annotations

from dataclasses import replace

import pytest

from synguard.addresses import parse_network
from synguard.enforcer.plane import Desired
from synguard.enforcer.reconcile.desired import DesiredState
from synguard.model import Ban, Origin
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
        ((on_syns(443), on_handshakes(443)), False),
        ((on_syns(443, 80), on_handshakes(443, 8443)), False),
        ((on_syns(), on_handshakes(8443)), False),
        ((on_syns(443), on_handshakes()), False),
        ((on_syns(443), on_handshakes(8443)), True),
        ((on_syns(443), by_hand(8443)), False),
    ],
)
def test_a_served_client_passes_unless_it_is_refused_on_a_port_that_would_be_open_to_it(
    bans: tuple[Ban, ...], passes: bool
) -> None:
    """A ban on connections to 8443 had the served clients of its /24 refused on 443 once SYNs came there."""
    state = DesiredState()
    for one in bans:
        state.put(PackedBans([one]))
    assert (PEER in state.desired((), (PEER,)).proven) is passes
    assert (PEER in Desired.of(bans, (), (PEER,), START).proven) is passes
