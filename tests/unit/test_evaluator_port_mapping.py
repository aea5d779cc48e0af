"""Which ports a ban closes for services that are reached through other ports."""

from __future__ import annotations

import random
from datetime import timedelta
from ipaddress import ip_network

import pytest

from synguard.decision.ban_times import RepeatOffenders
from synguard.decision.budget import BudgetGate
from synguard.decision.evaluator import Evaluator
from synguard.decision.evaluator_state import EvaluatorState
from synguard.decision.prefix_aggregation import Offender
from synguard.decision.proven import ProvenPeers
from synguard.detector.assessment import Assessment
from synguard.model import Evidence, Signal
from synguard.policy.models import Budget, Policy
from tests.support.manual_clock import START

MANY = {8080: tuple(range(9000, 9020))}


def closed(
    ports: tuple[int, ...], port_mapping: dict[int, tuple[int, ...]], signal: Signal = Signal.HALF_OPEN
) -> list[object]:
    """Return the ports of the ban that evidence on ``ports`` brings, at two moments, the second one past the first."""
    evaluator_state = EvaluatorState(
        lambda: "b1", random.Random(1), False, BudgetGate(Budget()), RepeatOffenders({}), ProvenPeers(60, 100)
    )
    item = Offender(ip_network("198.51.100.7"), 100.0, (Evidence(signal, 900, 64, ports),))
    found: list[object] = []
    for later in (0, 1):
        evaluator = Evaluator(
            evaluator_state, Assessment(float(later), port_mapping=port_mapping), START + timedelta(seconds=later), None
        )
        evaluator.evaluate([(item, Policy(name="test"))])
        found += [ban.ports for ban in evaluator.bans]
    return found


@pytest.mark.parametrize(
    ("ports", "port_mapping", "expected"),
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
def test_a_ban_closes_every_published_port_of_what_is_attacked_once(
    ports: tuple[int, ...], port_mapping: dict[int, tuple[int, ...]], expected: tuple[int, ...]
) -> None:
    """One ban: at the second hearing the first one is known to hold, though it names other ports than the evidence."""
    assert closed(ports, port_mapping) == [expected]


def test_a_ban_of_everything_names_no_ports() -> None:
    assert closed((80,), {80: (8080,)}, Signal.CONNECTIONS) == [()]
