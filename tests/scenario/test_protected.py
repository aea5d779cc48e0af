"""Who is protected, through the whole agent: reading fails, the agent restarts."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from datetime import timedelta
from ipaddress import IPv6Network, ip_address
from pathlib import Path
from typing import Any

from synguard.addresses import NetworkIndex, parse_network
from synguard.decision.pieces import MOST_PIECES
from synguard.model import Action, Ban, Origin, Scope, VerdictKind
from synguard.policy.models import Allow, Config, Limits
from synguard.sensors.protected import read_protected
from tests.scenario.test_attackers import refused
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


OWN = "2001:db8:1:1::1"
NET = IPv6Network("2001:db8:1:1::/64")


def closes(scene: Scene, addresses: Iterable[str]) -> dict[str, int]:
    """Return the connections that are left of one each: who is refused has had its own closed."""
    held = scene.plane.read()
    stopped = NetworkIndex(one.target for one in held.bans.values())
    return {one: 1 for one in addresses if stopped.covering(parse_network(one)) is None}


def bans(scene: Scene) -> Iterator[Ban]:
    return iter(scene.ledger.active_bans(scene.clock.utcnow()).values())


def test_very_many_addresses_beside_a_protected_one_are_stopped_together_without_it(tmp_path: Path) -> None:
    """2,000 addresses of the host's own /64 with one connection each went on for ever: no one of them has too many."""
    scene = Scene(tmp_path, POLICY, config=ENFORCE)
    scene.weather.protected = {f"{OWN}/128": "own address of eth0"}
    scene.weather.connections = {"2001:db8:1:1::2": 1}
    scene.lasts(6)
    crowd = [str(NET[number]) for number in range(0x100, 0x100 + 2000)]
    scene.weather.connections = dict.fromkeys(crowd, 1)
    closed = [one for tick in scene.lasts(8) for one in tick.decision.excess]
    assert len(closes(scene, crowd)) <= POLICY.limits.connections
    for passes in (OWN, "2001:db8:1:1::2"):
        assert not any(parse_network(passes).subnet_of(ban.target) for ban in bans(scene))  # type: ignore[arg-type]
    assert len(list(bans(scene))) <= 4
    assert all((ban.scope, ban.ports) == (Scope.NEW, (80,)) for ban in bans(scene))
    assert all(f"it holds {OWN}, protected: own address of eth0" in ban.reason for ban in bans(scene))
    assert closed
    assert {(one.target, one.at_most) for one in closed} <= {(ban.target, 0) for ban in bans(scene)}
    scene.weather.connections = closes(scene, crowd)
    scene.lasts(60)
    assert len(list(bans(scene))) <= 4


def test_who_moves_on_through_such_a_64_is_followed_with_few_bans(tmp_path: Path) -> None:
    """New addresses every few seconds, near the protected ones and far: the bans are bounded."""
    scene = Scene(tmp_path, POLICY, config=ENFORCE)
    ours = (OWN, "2001:db8:1:1:8000::53", "2001:db8:1:1:ffff::7")
    scene.weather.protected = {f"{one}/128": "resolver" for one in ours}
    scene.lasts(6)
    chance, held = random.Random(3), dict[str, int]()
    for _ in range(6):
        near = [int(ip_address(one)) ^ chance.randrange(1, 1 << chance.randrange(10, 64)) for one in ours * 700]
        held = closes(scene, [*held, *(str(ip_address(one)) for one in near)])
        scene.weather.connections = held
        scene.lasts(8)
    assert len(closes(scene, held)) <= POLICY.limits.connections
    assert len(list(bans(scene))) <= 3 * MOST_PIECES
    assert not any(parse_network(one).subnet_of(ban.target) for one in ours for ban in bans(scene))  # type: ignore[arg-type]


def test_a_handshake_of_one_address_buys_a_64_of_single_connections_no_immunity(tmp_path: Path) -> None:
    """`not banned as a whole: 1 recently served client in it …`, while 2,000 others went on."""
    scene = Scene(tmp_path, POLICY, config=ENFORCE)
    scene.weather.connections = {"2001:db8:1:1:77::2": 1}
    scene.lasts(6)
    crowd = [str(NET[random.Random(number).randrange(1 << 64)]) for number in range(2000)]
    scene.weather.connections = dict.fromkeys(crowd, 1)
    scene.lasts(8)
    assert len(closes(scene, crowd)) <= POLICY.limits.connections
    assert not refused(scene, "2001:db8:1:1:77::2")


def test_the_rest_of_an_ipv4_24_beside_a_resolver_is_stopped_where_no_host_of_it_has_many(tmp_path: Path) -> None:
    policy = POLICY.model_copy(update={"prefix_limits": Limits(connections=3000)})
    scene = Scene(tmp_path, policy, config=ENFORCE)
    scene.weather.protected = {"192.0.2.53/32": "resolver"}
    scene.lasts(6)
    scene.weather.connections = {f"192.0.2.{i}": 1 for i in range(1, 251) if i != 53}
    scene.lasts(20)
    assert not scene.banned()
    crowd = [f"192.0.2.{i}" for i in range(1, 251) if i != 53]
    scene.weather.connections = dict.fromkeys(crowd, 16)
    scene.lasts(20)
    assert 16 * len(closes(scene, crowd)) <= 3000
    assert not refused(scene, "192.0.2.53")
    assert len(scene.banned()) <= 4


def test_a_policy_that_never_stops_connections_refuses_new_ones_of_who_holds_too_many(tmp_path: Path) -> None:
    """A ban of an IPv6 /64 let every proven peer in it through, the one with 2,000 connections first."""
    scene = Scene(tmp_path, POLICY.model_copy(update={"scope": "new"}), config=ENFORCE)
    scene.weather.connections = {"2001:db8:7:1::2": 2000}
    scene.lasts(10)
    assert scene.banned() == {"2001:db8:7:1::/64"}
    assert refused(scene, "2001:db8:7:1::2")
    scene.restarts()
    scene.lasts(2)
    assert refused(scene, "2001:db8:7:1::2")
    assert not any(one.kind is VerdictKind.SPARE for one in scene.agent.tick().decision.verdicts)


def test_a_ban_on_syns_of_a_prefix_does_not_cover_its_served_members_who_hold_too_many(tmp_path: Path) -> None:
    """`covered by ban` on SYNs, which lets served clients through: with scope new those who flooded connected on."""
    scene = Scene(tmp_path, POLICY.model_copy(update={"scope": "new"}), config=ENFORCE)
    crowd = [f"198.51.100.{number}" for number in range(200, 210)]
    scene.weather.connections = dict.fromkeys(crowd, 1)
    scene.lasts(2)
    rain(scene, {f"198.51.100.{number}": 20.0 for number in range(1, 150)}, 2.0)
    assert scene.banned() == {"198.51.100.0/24"}
    assert not any(refused(scene, one) for one in crowd)
    scene.weather.connections = {crowd[0]: 1, **dict.fromkeys(crowd[1:], 400)}
    scene.lasts(8)
    assert all(refused(scene, one) for one in crowd[1:])


def test_a_ban_on_syns_does_not_cover_the_pieces_beside_a_protected_address(tmp_path: Path) -> None:
    scene = Scene(tmp_path, POLICY.model_copy(update={"scope": "new"}), config=ENFORCE)
    crowd = [str(NET[number]) for number in range(0x100, 0x100 + 2000)]
    scene.weather.connections = dict.fromkeys(crowd, 1)
    scene.weather.protected = {f"{OWN}/128": "own address of eth0"}
    wide = Ban(
        id="on-syns", target=NET, scope=Scope.NEW, action=Action.DROP, origin=Origin.AUTO, policy="default", reason="",
        created_at=scene.clock.utcnow(), expires_at=scene.clock.utcnow() + timedelta(minutes=9), ports=(80,),
    )  # fmt: skip
    scene.agent._engine.evaluator_state.active_bans.add(wide)
    scene.lasts(8)
    assert len(closes(scene, crowd)) <= POLICY.limits.connections
