"""What the lab computes from its recordings."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.support.lab.attempts import Attempt, Attempts
from tests.support.lab.namespaces import LabError
from tests.support.lab.reach import Reach
from tests.support.lab.snapshot import differences


def recorded(reaching_until: float, offered_until: float = 5.0, clients: float = 0.0) -> Reach:
    """Ten thousand packets a second from second 1, let through until ``reaching_until``, sampled every 10 ms."""
    lines = [
        {
            "at": at,
            "attack": 10_000 * max(min(at, offered_until) - 1, 0),
            "clients": clients * at,
            "segments": 10_000 * max(min(at, reaching_until) - 1, 0) + clients * at,
        }
        for at in np.arange(0, 6, 0.01)
    ]
    return Reach.from_lines(lines)


@pytest.mark.parametrize("until", [1.05, 1.333, 2.0, 4.123])
def test_relief_is_found_within_two_samples(until: float) -> None:
    assert recorded(until).relief_s(1.0) == pytest.approx(until - 1.0, abs=0.02)


def test_clients_do_not_count_as_attack() -> None:
    assert recorded(2.0, clients=3000).relief_s(1.0) == pytest.approx(1.0, abs=0.02)


def test_an_attack_that_always_reaches_gives_no_relief() -> None:
    assert recorded(reaching_until=5.0).relief_s(1.0) is None


def test_an_attack_that_ends_by_itself_is_no_relief() -> None:
    """The moment the flood stops nothing reaches TCP any more, which is not the firewall's doing."""
    assert recorded(reaching_until=3.0, offered_until=3.0).relief_s(1.0) is None


def test_share_and_rates_are_those_of_the_window() -> None:
    reach = recorded(2.0)
    assert reach.share(1.0, 3.0) == pytest.approx(0.5, abs=0.01)
    assert reach.offered_pps(1.5, 2.5) == pytest.approx(10_000)
    assert reach.reached_pps(2.5, 3.5) == pytest.approx(0, abs=1)
    assert math.isnan(reach.share(0.0, 0.9))


def attempt(at: float, outcome: str = "ok", source: str = "172.20.0.10", connect_s: float | None = 0.001) -> Attempt:
    return Attempt(client=0, source=source, at=at, connect_s=connect_s, total_s=0.002, outcome=outcome)


def test_success_is_told_overall_by_window_and_by_source() -> None:
    attempts = Attempts([attempt(1), attempt(2, "reset"), attempt(3, source="172.20.1.10")])
    assert attempts.share == pytest.approx(2 / 3)
    assert attempts.between(0, 2).share == 1.0
    assert attempts.of("172.20.0.10").share == 0.5
    assert {source: part.share for source, part in attempts.by_source().items()} == {
        "172.20.0.10": 0.5,
        "172.20.1.10": 1,
    }


def test_no_attempts_are_no_success() -> None:
    with pytest.raises(LabError, match="no client made an attempt"):
        _ = Attempts([]).share


def test_connect_times_are_of_connections_that_stood() -> None:
    attempts = Attempts([attempt(1, connect_s=0.001), attempt(2, connect_s=0.003), attempt(3, "reset", connect_s=None)])
    assert attempts.connect_ms(50) == pytest.approx(2.0)


def test_a_snapshot_tells_added_removed_and_changed() -> None:
    changed = differences({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"})
    assert [text.split(":")[0] for text in changed] == ["b", "c", "d"]
