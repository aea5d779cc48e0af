"""Floods, told as dialogues: what the network does, what the agent makes of it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from itertools import pairwise
from pathlib import Path

import pytest

from synguard.incidents import Phase
from synguard.model import Action, Mode, Scope, VerdictKind
from synguard.policy.models import Budget, Config, Limits, Policy
from synguard.status.model import read_status
from tests.support.scene import Scene

POLICY = Policy(
    name="default",
    limits=Limits(half_open=64, syn_rate=100, connections=300, connection_rate=50),
    prefix_limits=Limits(half_open=256, syn_rate=500, connections=1000, connection_rate=300),
)
ENFORCE = Config(mode=Mode.ENFORCE)
ATTACKER = "198.51.100.7"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path, POLICY, config=ENFORCE)


def random_sources(count: int, seed: int = 7) -> list[str]:
    chance = random.Random(seed)
    return [str(ip_address(chance.randrange(1 << 24, 224 << 24))) for _ in range(count)]


def rain(scene: Scene, pps: dict[str, float], seconds: float = 2.0, drop: bool = True) -> None:
    """A SYN flood that fills the queue of 128 with whoever came first."""
    scene.weather.syn_pps = pps
    scene.weather.half_open = dict.fromkeys(list(pps)[:129], max(1, 129 // len(pps)))
    scene.weather.dropped_pps = sum(pps.values()) if drop else 0
    scene.lasts(seconds)


def test_a_quiet_host_bans_nobody_and_does_not_sample(scene: Scene) -> None:
    scene.weather.half_open = {"192.0.2.1": 3}
    scene.weather.connections = {f"192.0.2.{i}": 5 for i in range(1, 100)}
    ticks = scene.lasts(60)
    assert scene.banned() == set()
    assert not any(tick.decision.wants_sampler for tick in ticks)
    assert ticks[-1].decision.phase is Phase.CALM


def test_a_single_source_that_fills_the_queue_is_stopped_for_new_connections_to_that_port(scene: Scene) -> None:
    scene.lasts(1)
    scene.weather.half_open = {ATTACKER: 129}
    scene.weather.dropped_pps = 10_000
    scene.lasts(0.5)
    [ban] = scene.ledger.active_bans(scene.clock.utcnow()).values()
    assert str(ban.target) == f"{ATTACKER}/32"
    assert ban.scope is Scope.NEW
    assert ban.ports == (80,)
    assert scene.held() == {ATTACKER}


def test_128_sources_that_share_a_full_queue_are_told_apart_by_their_syns(scene: Scene) -> None:
    """A queue of 128 shows one half-open socket of each: only the sampled SYNs say who is too loud."""
    scene.lasts(1)
    loud = dict.fromkeys(random_sources(128), 78.0)
    rain(scene, loud, 1.0)
    assert scene.banned() == set(loud)


def test_an_ipv6_flood_from_one_64_is_one_ban(scene: Scene) -> None:
    scene.lasts(1)
    chance = random.Random(3)
    addresses = [str(ip_address((0x20010DB800070001 << 64) + chance.getrandbits(64))) for _ in range(2000)]
    rain(scene, dict.fromkeys(addresses, 5.0), 1.0)
    assert scene.banned() == {"2001:db8:7:1::/64"}


def test_random_sources_are_called_spoofed_and_nobody_is_banned(scene: Scene) -> None:
    scene.lasts(1)
    rain(scene, dict.fromkeys(random_sources(4000), 2.5), 3.0)
    assert scene.banned() == set()
    status = read_status(scene.config.runtime_dir)
    assert status is not None
    told = re.match(r"spoofed: about ([\d,]+) SYN/s", status.verdict)
    assert told is not None
    assert int(told[1].replace(",", "")) == pytest.approx(10_000, rel=0.1)
    recorded = scene.ledger.verdicts_since(scene.clock.utcnow().replace(year=2025))
    assert any(record.verdict.kind is VerdictKind.SPOOFED for record in recorded)


def test_heavy_sources_hidden_in_a_spoofed_flood_are_still_found(scene: Scene) -> None:
    scene.lasts(1)
    heavy = random_sources(10, seed=99)
    rain(scene, dict.fromkeys(random_sources(4000), 2.0) | dict.fromkeys(heavy, 200.0), 2.0)
    assert scene.banned() == set(heavy)


def test_a_crowd_that_completes_its_handshakes_is_no_flood(scene: Scene) -> None:
    crowd = random_sources(500)
    scene.weather.syn_pps = dict.fromkeys(crowd, 1.0)
    scene.weather.half_open = dict.fromkeys(crowd[:100], 1)
    scene.weather.connections = dict.fromkeys(crowd, 4)
    scene.weather.completed_pps = 500
    scene.lasts(20)
    assert scene.banned() == set()
    assert read_status(scene.config.runtime_dir).verdict == ""  # type: ignore[union-attr]


def test_a_connection_flood_is_stopped_whole(scene: Scene) -> None:
    scene.weather.connections = {ATTACKER: 2000, "192.0.2.9": 20}
    scene.lasts(8)
    [ban] = scene.ledger.active_bans(scene.clock.utcnow()).values()
    assert str(ban.target) == f"{ATTACKER}/32"
    assert ban.scope is Scope.ALL
    assert ban.ports == ()


def test_forging_a_served_client_spares_it(scene: Scene) -> None:
    scene.weather.connections = {"192.0.2.9": 2}
    scene.lasts(3)
    rain(scene, {"192.0.2.9": 10_000.0}, 3.0)
    assert scene.banned() == set()
    [record] = scene.ledger.verdicts_of(ip_network("192.0.2.9/32"))
    assert record.verdict.kind is VerdictKind.SPARE
    assert record.verdict.reason.startswith("proven: completed a handshake")


def test_a_client_whose_short_connection_is_over_is_proven_too(scene: Scene) -> None:
    scene.weather.finished = ("192.0.2.9",)
    scene.lasts(1)
    rain(scene, {"192.0.2.9": 10_000.0}, 3.0)
    assert scene.banned() == set()


def test_proof_grows_old(scene: Scene) -> None:
    scene.weather.connections = {"192.0.2.9": 2}
    scene.lasts(2)
    scene.weather.connections = {}
    scene.lasts(1300, every=5.0)
    rain(scene, {"192.0.2.9": 10_000.0}, 2.0)
    assert scene.banned() == {"192.0.2.9"}


def test_a_connection_flooder_cannot_hide_behind_having_connected(scene: Scene) -> None:
    scene.weather.connections = {ATTACKER: 5}
    scene.lasts(2)
    scene.weather.connections = {ATTACKER: 3000}
    scene.lasts(8)
    assert scene.banned() == {ATTACKER}


@pytest.mark.parametrize("party", ["198.51.100.7/32", "198.51.100.0/24"])
def test_the_protected_are_never_banned_whatever_they_seem_to_do(scene: Scene, party: str) -> None:
    scene.weather.protected = {party: "default gateway via eth0"}
    scene.weather.connections = {ATTACKER: 5000}
    rain(scene, {ATTACKER: 10_000.0}, 8.0)
    assert scene.banned() == set()
    reasons = {record.verdict.reason for record in scene.ledger.verdicts_of(ip_network("198.51.100.7/32"))}
    assert reasons == {"protected: default gateway via eth0"}


def test_a_prefix_that_holds_a_protected_address_is_not_banned_but_those_in_it_who_flood_are(scene: Scene) -> None:
    scene.weather.protected = {"198.51.100.200/32": "resolver of /etc/resolv.conf"}
    rain(scene, {f"198.51.100.{i}": 20.0 for i in range(1, 150)}, 3.0)
    assert scene.banned() <= {f"198.51.100.{i}" for i in range(1, 150)}


@pytest.mark.parametrize("net", ["198.51.100.7/32", "198.51.100.0/24"])
def test_a_container_of_this_host_is_named_as_the_load_and_never_cut_off(scene: Scene, net: str) -> None:
    scene.weather.containers = {net: "own address of web-1"}
    scene.weather.connections = {ATTACKER: 5000}
    scene.lasts(8)
    assert scene.banned() == set()
    [reason] = {record.verdict.reason for record in scene.ledger.verdicts_of(ip_network("198.51.100.7/32"))}
    assert "is a container of this host (own address of web-1), never cut off: the load comes from there" in reason


def test_syns_of_a_container_of_this_host_are_limited_like_those_of_any_client(scene: Scene) -> None:
    scene.weather.containers = {"198.51.100.7/32": "own address of web-1"}
    rain(scene, {ATTACKER: 10_000.0}, 4.0)
    [ban] = scene.ledger.active_bans(scene.clock.utcnow()).values()
    assert ban.scope is Scope.NEW


def test_a_proven_peer_keeps_a_way_through_a_banned_prefix(scene: Scene) -> None:
    scene.weather.connections = {"198.51.100.200": 1}
    scene.lasts(2)
    rain(scene, {f"198.51.100.{i}": 20.0 for i in range(1, 150)}, 2.0)
    assert scene.banned() == {"198.51.100.0/24"}
    assert {str(peer) for peer in scene.plane.read().proven} == {"198.51.100.200/32"}
    [ban] = scene.ledger.active_bans(scene.clock.utcnow()).values()
    assert ban.reason.endswith("; 1 recently served client in it keeps a way through")


def test_enough_loud_siblings_become_their_24(scene: Scene) -> None:
    rain(scene, {f"198.51.100.{i}": 100.0 for i in range(1, 60)}, 2.0)
    assert scene.banned() == {"198.51.100.0/24"}


def test_a_22_of_quiet_sources_is_covered_and_its_neighbour_is_untouched(scene: Scene) -> None:
    crowd = {f"203.0.{113 + third}.{i}": 10.0 for third in range(4) for i in range(256)}
    neighbour = {f"203.0.112.{i}": 0.2 for i in range(50)}
    rain(scene, crowd | neighbour, 2.0)
    assert scene.banned() == {f"203.0.{113 + third}.0/24" for third in range(4)}


def test_accept_overflow_alone_is_a_slow_application(scene: Scene) -> None:
    """Handshakes pile up because nobody accepts them: the half-open sockets of honest clients are no evidence."""
    scene.weather.accept_queue = 129
    scene.weather.overflows_pps = 50
    scene.weather.half_open = {ATTACKER: 100}
    scene.lasts(5)
    assert scene.banned() == set()
    assert read_status(scene.config.runtime_dir).verdict.startswith("slow application: the accept queue of port 80")  # type: ignore[union-attr]


def test_repeat_offenders_are_banned_longer_up_to_the_cap(scene: Scene) -> None:
    lasted = []
    for _ in range(5):
        rain(scene, {ATTACKER: 10_000.0}, 1.0)
        [ban] = scene.ledger.active_bans(scene.clock.utcnow()).values()
        lasted.append((ban.expires_at - ban.created_at).total_seconds())  # type: ignore[operator]
        scene.sensors.weather = type(scene.weather)()
        scene.lasts(1000, every=5.0)
        assert scene.banned() == set()
    assert all(after > 1.4 * before for before, after in pairwise(lasted[:3]))
    assert max(lasted) <= 900


def test_a_flood_that_goes_on_is_banned_again_without_a_gap(scene: Scene) -> None:
    rain(scene, {ATTACKER: 500.0}, 1.0)
    for _ in range(300):
        scene.lasts(1, every=0.25)
        assert scene.held() == {ATTACKER}


def test_the_budget_stops_runaway_banning_and_says_so(tmp_path: Path) -> None:
    scene = Scene(tmp_path, POLICY, config=ENFORCE.model_copy(update={"budget": Budget(bans_per_minute=20)}))
    rain(scene, dict.fromkeys(random_sources(100), 200.0), 2.0)
    assert len(scene.banned()) == 20
    assert any("budget of 20 bans a minute" in problem for problem in read_status(tmp_path).problems)  # type: ignore[union-attr]


def test_not_knowing_whom_to_protect_suspends_bans_loudly(scene: Scene) -> None:
    scene.weather.problems = ("/etc/synguard/allow.txt cannot be read: Permission denied",)
    rain(scene, {ATTACKER: 10_000.0}, 3.0)
    assert scene.banned() == set()
    status = read_status(scene.config.runtime_dir)
    assert status is not None
    assert not status.healthy
    assert "automatic bans are suspended: /etc/synguard/allow.txt" in status.problems[0]
    scene.weather.problems = ()
    scene.lasts(6)
    assert scene.banned() == {ATTACKER}


@pytest.mark.parametrize("sensor", ["half_open", "counters", "syn_sampler", "connections"])
def test_a_broken_sensor_is_no_empty_one(scene: Scene, sensor: str) -> None:
    scene.weather.broken = frozenset({sensor})
    rain(scene, {ATTACKER: 10_000.0}, 3.0)
    status = read_status(scene.config.runtime_dir)
    assert status is not None
    if sensor == "half_open":  # the one that calls for the sampler
        assert scene.banned() in (set(), {ATTACKER})
    else:
        assert scene.banned() == {ATTACKER}
    assert not status.sensors[sensor].ok
    assert not status.healthy


def test_an_incident_runs_from_onset_to_calm_and_a_dip_does_not_end_it(scene: Scene) -> None:
    rain(scene, dict.fromkeys(random_sources(4000), 2.5), 3.0)
    calm = type(scene.weather)()
    flood, scene.sensors.weather = scene.weather, calm
    scene.lasts(15)
    assert scene.agent.phase is Phase.COOLING
    scene.sensors.weather = flood
    scene.lasts(3)
    assert scene.agent.phase is Phase.ATTACK
    scene.sensors.weather = calm
    scene.lasts(45)
    assert scene.agent.phase is Phase.CALM
    [incident] = scene.ledger.incidents_since(scene.clock.utcnow().replace(year=2025))
    assert incident.kind == "spoofed-flood"
    assert incident.ended_at is not None
    assert incident.peak_syn_pps == pytest.approx(10_000, rel=0.1)


def test_a_dry_run_names_the_same_targets_and_the_kernel_holds_nothing(tmp_path: Path) -> None:
    flood: Callable[[Scene], None] = lambda scene: rain(scene, {ATTACKER: 9000.0, "203.0.113.5": 800.0}, 2.0)  # noqa: E731
    told = []
    for mode in (Mode.ENFORCE, Mode.DRY_RUN):
        directory = tmp_path / mode
        directory.mkdir()
        scene = Scene(directory, POLICY, config=Config(mode=mode))
        flood(scene)
        told.append(scene.banned())
        if mode is Mode.DRY_RUN:
            assert scene.ledger.active_bans(scene.clock.utcnow()) == {}
    assert told[0] == told[1] == {ATTACKER, "203.0.113.5"}


def test_a_restart_adopts_what_stands(scene: Scene) -> None:
    rain(scene, {ATTACKER: 10_000.0}, 1.0)
    before = scene.plane.read().bans
    scene.sensors.weather = type(scene.weather)()
    scene.restarts()
    scene.lasts(2)
    assert scene.plane.read().bans == before


def test_what_another_process_lifts_stays_lifted_until_there_is_new_evidence(scene: Scene) -> None:
    from synguard.ledger import LEDGER_FILE, Ledger

    rain(scene, {ATTACKER: 10_000.0}, 1.0)
    scene.sensors.weather = type(scene.weather)()
    scene.lasts(5)
    with Ledger.open(scene.config.state_dir / LEDGER_FILE) as other:
        other.end_bans(list(other.active_bans(scene.clock.utcnow())), scene.clock.utcnow(), "a person unbans it")
    scene.lasts(2)
    assert scene.held() == set()


def test_reject_is_passed_on(tmp_path: Path) -> None:
    scene = Scene(tmp_path, POLICY.model_copy(update={"action": Action.REJECT}), config=ENFORCE)
    rain(scene, {ATTACKER: 10_000.0}, 1.0)
    assert {held.action for held in scene.plane.read().bans.values()} == {Action.REJECT}


def test_a_policy_of_scope_new_never_stops_existing_connections(tmp_path: Path) -> None:
    scene = Scene(tmp_path, POLICY.model_copy(update={"scope": "new"}), config=ENFORCE)
    scene.weather.connections = {ATTACKER: 2000}
    scene.lasts(8)
    assert {held.scope for held in scene.plane.read().bans.values()} == {Scope.NEW}


def test_clients_turned_away_from_a_queue_far_from_full_are_an_incident_all_the_same(scene: Scene) -> None:
    """With cookies off the kernel stops at three quarters of tcp_max_syn_backlog: 97 of 511 where that is 128."""
    scene.weather.backlog = 511
    scene.lasts(1)
    scene.weather.half_open = {ATTACKER: 60, "203.0.113.5": 37}
    scene.weather.dropped_pps = 5000
    scene.lasts(1)
    assert scene.agent.phase is Phase.ATTACK
    assert scene.banned() == {ATTACKER, "203.0.113.5"}


def test_a_prefix_that_holds_a_translators_is_never_banned_as_a_whole(tmp_path: Path) -> None:
    """Attackers with a /64 in which the translator's addresses lie too: its ban refused everybody behind that."""
    config = Config.model_validate({"mode": "enforce", "pref64": ["2001:db8:64::/96"]})
    behind = POLICY.model_copy(update={"prefixes": POLICY.prefixes.with_embedding(config.pref64)})
    scene = Scene(tmp_path, behind, config=config)
    scene.lasts(6)
    scene.weather.connections = {f"2001:db8:64:0:1::{number:x}": 200 for number in range(1, 9)}
    scene.lasts(8)
    assert scene.banned() == set(scene.weather.connections)


def test_clients_behind_a_translator_are_judged_one_by_one(scene: Scene) -> None:
    """250 clients of three connections each in 64:ff9b::/96: the /64 was banned, which is all of IPv4."""
    clients = {f"64:ff9b::cb00:71{number:02x}": 3 for number in range(1, 251)}
    scene.weather.protected = {"198.51.100.9/32": "allow-list"}
    scene.weather.connections = clients
    scene.lasts(8)
    assert scene.banned() == set()
    scene.weather.connections = clients | {"64:ff9b::c633:6407": 2000, "64:ff9b::c633:6409": 2000}
    scene.lasts(8)
    assert scene.banned() == {"64:ff9b::c633:6407"}
