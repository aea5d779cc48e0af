"""The challenge program under real floods: clients get in, and the listener sees next to none of it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Literal

import pytest

from tests.conftest import MakeLab
from tests.support.challenge import Challenge, challenge
from tests.support.lab.client_plan import flash_crowd
from tests.support.lab.flood_plan import FloodPlan, anywhere
from tests.support.lab.lab import Lab
from tests.support.lab.topology import Victim

pytestmark = pytest.mark.kernel

Begin = Callable[..., tuple[Lab, Challenge]]


@pytest.fixture
def begin(make_lab: MakeLab) -> Iterator[Begin]:
    """Builds a lab that serves, with a challenge plane at the victim's uplink."""
    with ExitStack() as stack:

        def build(victim: Victim | None = None, **settings: Any) -> tuple[Lab, Challenge]:
            lab = make_lab(victim or Victim(backlog=128))
            lab.serve()
            held = Challenge(lab, **settings)
            stack.callback(held.close)
            return lab, held

        yield build


@pytest.mark.parametrize(("version", "everybody"), [(4, "0.0.0.0/0"), (6, "::/0")])
def test_500_clients_connect_during_a_random_flood_while_the_listener_sees_next_to_none_of_it(
    begin: Begin, version: Literal[4, 6], everybody: str
) -> None:
    lab, held = begin()
    held.hold(challenge("all", everybody, 80))
    flood = lab.start_flood(FloodPlan(groups=(anywhere(version),), pps=20_000, duration_s=8))
    clients = lab.start_clients(flash_crowd(500, within_s=3.0, pages_each=1, version=version))
    clients.wait(20)
    flood.stop()
    served, hits = clients.attempts(), held.hits("all")
    assert served.share == 1.0, served.outcomes()
    assert hits.answered > 50_000
    assert hits.passed < 400, "one SYN in 100 ms on each of the CPUs, and those that teach the window scale"
