"""What is no attack: one cookie, one drop, one SYN; and what still is one on the same hosts."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from synguard.incidents import Phase
from tests.scenario.test_floods import ENFORCE, POLICY, random_sources
from tests.support.scene import Scene, Weather

SCANNERS = dict.fromkeys(random_sources(3), 1)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path, POLICY, config=ENFORCE)
    scene.lasts(1)
    return scene


def incidents(scene: Scene) -> int:
    return len(scene.ledger.incidents_since(scene.clock.utcnow().replace(year=2025)))


def test_honest_clients_of_a_host_that_always_sends_cookies_are_no_attack(scene: Scene) -> None:
    """``tcp_syncookies = 2``: the first client began an incident, and the log got two lines a second ever after."""
    for clients in (1, 40, 400):
        scene.sensors.weather = Weather(cookies_pps=clients, cookies_back_pps=clients, completed_pps=clients)
        ticks = scene.lasts(30)
        assert not any(tick.decision.wants_sampler for tick in ticks)
    assert incidents(scene) == 0


def test_a_flood_on_a_host_that_always_sends_cookies_is_seen_within_a_second(scene: Scene) -> None:
    """Its queue stays empty; what tells is that the cookies do not come back."""
    scene.sensors.weather = Weather(cookies_pps=2_040, cookies_back_pps=40, completed_pps=40)
    assert scene.lasts(1)[-1].decision.phase is Phase.ATTACK


@pytest.mark.parametrize("backlog", [0, 1, 5])
@pytest.mark.parametrize("lost", [{"cookies_pps": 3.0}, {"dropped_pps": 3.0}], ids=["cookies", "no-cookies"])
def test_a_scan_of_a_listener_with_a_short_queue_is_no_attack(
    scene: Scene, backlog: int, lost: dict[str, float]
) -> None:
    """``listen(5)``: "SYN flood began … peak 3 half-open, 1 SYN/s", and a quarter of all limits was left."""
    scene.sensors.weather = Weather(backlog=backlog, half_open=SCANNERS, **lost)
    ticks = scene.lasts(30)
    assert incidents(scene) == 0
    assert not any(tick.assessment.pressed or tick.decision.wants_sampler for tick in ticks)


@pytest.mark.parametrize("lost", [{"cookies_pps": 500.0}, {"dropped_pps": 500.0}], ids=["cookies", "no-cookies"])
def test_a_flood_on_a_listener_with_a_short_queue_is_one(scene: Scene, lost: dict[str, float]) -> None:
    scene.sensors.weather = Weather(backlog=5, half_open=dict.fromkeys(random_sources(6), 1), **lost)
    last = scene.lasts(1)[-1]
    assert (last.decision.phase, last.assessment.pressed) == (Phase.ATTACK, {80})


def test_a_flood_that_comes_and_goes_for_hours_is_told_with_ever_fewer_lines(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(60):
        scene.sensors.weather = Weather(dropped_pps=5_000, half_open=dict.fromkeys(random_sources(129), 1))
        scene.lasts(5, every=0.5)
        scene.sensors.weather = Weather()
        scene.lasts(5, every=0.5)
    lines = [line for line in caplog.messages if "pressure is gone" in line or "under attack again" in line]
    assert incidents(scene) == 1
    assert 2 <= len(lines) <= 8


def test_a_pause_between_two_ticks_does_not_change_the_phase(scene: Scene) -> None:
    flood = {"dropped_pps": 5_000.0, "half_open": dict.fromkeys(random_sources(129), 1)}
    scene.sensors.weather = Weather(**flood)
    scene.lasts(2)
    for _ in range(5):
        scene.sensors.weather = Weather()
        assert {tick.decision.phase for tick in scene.lasts(0.5)} == {Phase.ATTACK}
        scene.sensors.weather = Weather(**flood)
        scene.lasts(0.5)
