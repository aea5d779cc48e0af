"""Which ports a ban closes for services that are reached through other ports."""

from __future__ import annotations

import random
from datetime import timedelta
from ipaddress import ip_network

import pytest

from synguard.decision.bans import Offenders
from synguard.decision.budget import BudgetGate
from synguard.decision.cover import Condemned
from synguard.decision.docket import Court, Docket
from synguard.decision.proven import ProvenPeers
from synguard.detector.assessment import Assessment
from synguard.model import Evidence, Signal
from synguard.policy.models import Budget, Policy
from tests.support.manual_clock import START

MANY = {8080: tuple(range(9000, 9020))}


def closed(
    ports: tuple[int, ...], doors: dict[int, tuple[int, ...]], signal: Signal = Signal.HALF_OPEN
) -> list[object]:
    """Return the ports of the ban that evidence on ``ports`` brings, at two moments, the second one past the first."""
    court = Court(lambda: "b1", random.Random(1), False, BudgetGate(Budget()), Offenders({}), ProvenPeers(60, 100))
    item = Condemned(ip_network("198.51.100.7"), 100.0, (Evidence(signal, 900, 64, ports),))
    found: list[object] = []
    for later in (0, 1):
        docket = Docket(court, Assessment(float(later), doors=doors), START + timedelta(seconds=later), None)
        docket.hear([(item, Policy(name="test"))])
        found += [ban.ports for ban in docket.bans]
    return found


@pytest.mark.parametrize(
    ("ports", "doors", "expected"),
    [
        ((80,), {}, (80,)),
        ((8080,), {8080: (8080, 8081)}, (8080, 8081)),
        ((80, 8080), {8080: (8080, 8081)}, (80, 8080, 8081)),
        ((80,), {80: ()}, ()),
        ((80, 443), {80: ()}, ()),
        ((8080,), MANY, ()),
        ((), {80: ()}, ()),
    ],
)
def test_a_ban_closes_every_door_of_what_is_attacked_once(
    ports: tuple[int, ...], doors: dict[int, tuple[int, ...]], expected: tuple[int, ...]
) -> None:
    """One ban: at the second hearing the first one is known to hold, though it names other ports than the evidence."""
    assert closed(ports, doors) == [expected]


def test_a_ban_of_everything_names_no_ports() -> None:
    assert closed((80,), {80: (8080,)}, Signal.CONNECTIONS) == [()]
