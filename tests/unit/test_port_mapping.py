"""Which host ports lead to a container's port, as connection tracking tells it."""

from __future__ import annotations

import pytest

from synguard.sensors import port_mapping
from synguard.sensors.port_mapping import ASK_AGAIN_S, ASK_UNKNOWN_S, ASKED_PER_PORT, PortMappings
from synguard.socket_table import SocketTable
from tests.support.traffic import table


class Tracking:
    """Connection tracking that answers from a list, and counts what it is asked."""

    def __init__(self) -> None:
        self.answers: list[int | None] = []
        self.asked = 0

    def __call__(self, table: SocketTable, row: int) -> int | None:
        self.asked += 1
        return self.answers[row % len(self.answers)]


@pytest.fixture
def tracking(monkeypatch: pytest.MonkeyPatch) -> Tracking:
    tracking = Tracking()
    monkeypatch.setattr(port_mapping, "original_port", tracking)
    return tracking


def test_ports_are_asked_for_a_few_sockets_at_a_slow_pace(tracking: Tracking) -> None:
    tracking.answers = [8080]
    known, rows = PortMappings(), table({"203.0.113.9": 500})
    for step in range(20):
        known.learn("web", rows, step * ASK_AGAIN_S / 10)
    assert tracking.asked == 2 * ASKED_PER_PORT
    assert known.of("web", 80) == (8080,)
    assert known.port_mapping() == {("web", 80): (8080,)}


def test_a_port_published_twice_has_two_published_ports(tracking: Tracking) -> None:
    tracking.answers = [8080, 8081]
    known = PortMappings()
    known.learn("web", table({"203.0.113.9": 10}), 0.0)
    assert known.port_mapping() == {("web", 80): (8080, 8081)}


def test_a_port_that_no_connection_tells_of_is_unknown_until_one_does(tracking: Tracking) -> None:
    tracking.answers = [None]
    known, rows = PortMappings(), table({"203.0.113.9": 10})
    known.learn("web", rows, 0.0)
    assert known.port_mapping() == {("web", 80): ()}
    tracking.answers = [8080]
    known.learn("web", rows, ASK_UNKNOWN_S / 2)
    assert known.port_mapping() == {("web", 80): ()}
    known.learn("web", rows, ASK_UNKNOWN_S)
    assert known.port_mapping() == {("web", 80): (8080,)}


def test_what_is_known_of_a_namespace_that_went_away_is_forgotten(tracking: Tracking) -> None:
    tracking.answers = [8080]
    known = PortMappings()
    known.learn("web", table({"203.0.113.9": 10}), 0.0)
    known.forget_but(["other"])
    assert known.port_mapping() == {}
    assert known.of("web", 80) == ()
