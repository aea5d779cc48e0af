"""Who is protected, through the whole agent: reading fails, the agent restarts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from synguard.policy.models import Allow, Config
from synguard.sensors.protected import read_protected
from tests.scenario.test_floods import ATTACKER, ENFORCE, POLICY, rain
from tests.support.fake_plane import FakePlane
from tests.support.scene import Scene
from tests.unit.test_protected import places


def scene_with(tmp_path: Path, friends: Path, monkeypatch: Any) -> Scene:
    """Return a host that enforces and whose allow-list file is read for real."""
    config: Config = ENFORCE.model_copy(update={"allow": Allow(files=(friends,))})
    monkeypatch.setattr(
        "tests.support.scene.FakeSensors.protected",
        lambda self, allow, known: read_protected(allow, places(), known),
    )
    scene = Scene(tmp_path, POLICY, config=config, plane=FakePlane())
    scene.fake.utcnow = scene.clock.utcnow
    return scene


def allowed(scene: Scene) -> set[str]:
    return {str(network) for network in scene.fake.actual.allow}


def test_whom_a_broken_allow_file_named_passes_on_also_after_a_restart_and_nobody_is_banned_by_the_agent(
    tmp_path: Path, monkeypatch: Any
) -> None:
    """A line that was mistyped, or a file that was gone for a moment, used to take its friends out of the kernel."""
    friends = tmp_path / "friends"
    friends.write_text("203.0.113.20\n")
    scene = scene_with(tmp_path, friends, monkeypatch)
    scene.lasts(1)
    assert "203.0.113.20/32" in allowed(scene)
    for broken in ("203.0.113.5-203.0.113.9\n", None):
        friends.write_text(broken) if broken else friends.unlink()
        scene.lasts(6)
        assert "203.0.113.20/32" in allowed(scene)
        scene.restarts()
        scene.lasts(6)
        assert "203.0.113.20/32" in allowed(scene)
        rain(scene, {ATTACKER: 10_000.0}, 2)
        assert scene.held() == set()
    friends.write_text("203.0.113.21\n")
    os.utime(friends, (0, 0))
    rain(scene, {ATTACKER: 10_000.0}, 8)
    assert scene.held() == {ATTACKER}
    assert "203.0.113.20/32" not in allowed(scene)


def test_an_attacker_in_the_own_64_of_somebody_protected_is_judged_by_its_own_address(tmp_path: Path) -> None:
    """`spare 2001:db8:1:1::/64: it holds …, protected`, for ever: who had an address beside ours was never banned."""
    scene = Scene(tmp_path, POLICY, config=ENFORCE)
    scene.weather.protected = {"2001:db8:1:1::1/128": "own address of eth0"}
    scene.lasts(6)
    scene.weather.connections = {"2001:db8:1:1::bad": 2000, "2001:db8:1:1::c": 3}
    scene.lasts(8)
    assert scene.banned() == {"2001:db8:1:1::bad"}


def test_an_attacker_beside_a_protected_range_or_with_many_addresses_beside_a_resolver_is_so_too(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, POLICY, config=ENFORCE)
    scene.weather.protected = {"2001:db8:1:1:8000::/65": "allow-list", "2001:db8:2:2::53/128": "resolver"}
    scene.lasts(6)
    scene.weather.connections = {"2001:db8:1:1::bad": 2000, "2001:db8:1:1:9000::c": 2000}
    many = {f"2001:db8:2:2::{number:x}" for number in range(0x100, 0x181)}
    rain(scene, dict.fromkeys(many, 80.0), 8)
    assert scene.banned() == {"2001:db8:1:1::bad"} | many
