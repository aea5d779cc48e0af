"""A ban is there and its target still comes: the whole agent on a manual clock, and what the operator is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from synguard.enforcer.plane import Bypass
from synguard.status.model import Status, read_status
from tests.scenario.test_floods import ATTACKER, ENFORCE, POLICY, rain
from tests.support.fake_plane import FakePlane
from tests.support.scene import Scene

ACCEPT = Bypass.of("iptables raw: rule 1 of PREROUTING accepts packets before SYNGUARD sees them", 4)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path, POLICY, config=ENFORCE, plane=FakePlane())
    scene.fake.utcnow = scene.clock.utcnow
    rain(scene, {ATTACKER: 10_000.0}, 1.0)
    assert scene.held() == {ATTACKER}
    return scene


def status(scene: Scene) -> Status:
    found = read_status(scene.config.runtime_dir)
    assert found is not None
    return found


def leaks(scene: Scene, seconds: float) -> None:
    """Let new half-open sockets of the banned source appear, one more each half second, and never be counted."""
    for nth in range(int(seconds * 2)):
        scene.weather.half_open = {ATTACKER: 3 + nth}
        scene.lasts(0.5)


def kernel_counts(scene: Scene, packets: int) -> None:
    for ban_id in scene.fake.actual.bans:
        scene.fake.count(ban_id, packets)


def leak_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.message for one in caplog.records if one.message.startswith("banned but still arriving")]


def test_banned_but_still_arriving_is_told_with_its_cause_once_and_is_over_when_the_counter_moves(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.fake.actual = replace(scene.fake.actual, foreign=(ACCEPT,))
    leaks(scene, 20)
    [line] = leak_lines(caplog)
    assert ATTACKER in line
    assert ACCEPT in line
    seen = status(scene)
    assert not seen.healthy
    assert line in seen.problems
    assert [leak.target for leak in seen.leaks] == [ATTACKER]
    kernel_counts(scene, 500)
    scene.lasts(8)
    assert status(scene).leaks == ()
    assert status(scene).problems == ()
    actions = [
        one.text for one in scene.ledger.actions_since(scene.clock.utcnow().replace(year=2025)) if one.kind == "leak"
    ]
    assert len(actions) == 2
    assert line in actions


def test_sampled_syns_of_a_banned_source_prove_nothing(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """The sampler sees packets ahead of netfilter: they are there whether or not the ban stops them."""
    scene.weather.half_open = {}
    rain(scene, {ATTACKER: 10_000.0}, 30.0)
    assert leak_lines(caplog) == []


def test_a_counter_that_moves_is_proof_whatever_stragglers_are_seen(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    for packets in range(100, 2000, 100):
        kernel_counts(scene, packets)
        leaks(scene, 1)
    assert leak_lines(caplog) == []


def test_new_connections_of_a_banned_source_are_a_leak_too(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.weather.half_open = {}
    for nth in range(20):
        scene.weather.connections = {ATTACKER: 1 + nth}
        scene.lasts(1.0)
    assert len(leak_lines(caplog)) == 1


def test_connections_from_before_the_ban_are_not(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.weather.half_open = {}
    scene.weather.connections = {ATTACKER: 20}
    scene.lasts(20)
    assert leak_lines(caplog) == []


def test_while_the_rules_are_wiped_it_is_the_repair_that_is_told(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(4):
        scene.fake.wipe()
        leaks(scene, 5)
    assert leak_lines(caplog) == []
