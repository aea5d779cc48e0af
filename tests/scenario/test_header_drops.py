"""The step between limit and drop: SYNs with one exact header that no served client sends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from synguard.model import Action, Ban, Mode
from synguard.policy.models import Policy
from synguard.status.model import read_status
from tests.scenario.test_challenge import ENFORCE, POLICY, WORKS
from tests.scenario.test_forged import addresses, flood
from tests.support.scene import Scene, Weather
from tests.support.traffic import TOOL, Header, forged, natural

CLIENTS = tuple(f"192.0.2.{host}" for host in range(1, 51))
EVERYWHERE = dict.fromkeys(addresses(120), 10.0)
TOOL_S = f"ttl {TOOL[0]}-{TOOL[0]} window {TOOL[1]} mss 1460 options {TOOL[2]:08x} length 60"


def like_the_tool(address: str) -> Header:
    """Return what a client sends that is the tool's own system, some hops further away."""
    return TOOL[0] - 5, TOOL[1], TOOL[2]


def overwhelmed(pps: dict[str, float], **more: object) -> Weather:
    """Return a flood that the program counts, and that leaves a CPU the bottleneck."""
    usual = {"saturated": True, "whole_headers": True, "dropped_pps": 0, "cookies_pps": 2_000, "finished": CLIENTS}
    return flood(pps, **usual | more)


def new_scene(tmp_path: Path, clients: tuple[str, ...] = CLIENTS, policy: Policy = POLICY, looks: int = 20) -> Scene:
    """Return a host whose served clients have been looked at for ten minutes of calm."""
    scene = Scene(tmp_path, policy, config=ENFORCE, challenge=WORKS)
    scene.sensors.weather = Weather(finished=CLIENTS)
    scene.lasts(2)
    scene.has_seen_served_clients(clients, looks)
    scene.lasts(7)
    return scene


def bans(scene: Scene) -> list[tuple[str, Action, str]]:
    """Return target, action and header of the bans that stand, as they were made."""
    found = scene.ledger.active_bans(scene.clock.utcnow()).values()
    return [(str(ban.target), ban.action, str(ban.header or "")) for ban in sorted(found, key=lambda b: b.created_at)]


def header_ban(scene: Scene) -> Ban | None:
    return next((ban for ban in scene.ledger.active_bans(scene.clock.utcnow()).values() if ban.header), None)


EVERYBODY = ("0.0.0.0/0", Action.CHALLENGE, "")
DROPPED = ("0.0.0.0/0", Action.DROP, TOOL_S)


def test_where_a_challenge_of_everybody_leaves_a_cpu_the_bottleneck_one_header_is_dropped_beside_it(
    tmp_path: Path,
) -> None:
    scene = new_scene(tmp_path)
    scene.sensors.weather = overwhelmed(EVERYWHERE)
    scene.lasts(1.5)
    assert bans(scene) == [EVERYBODY], "a challenge has two seconds to bring relief"
    ticks = scene.lasts(4)
    assert bans(scene) == [EVERYBODY, DROPPED]
    ban = header_ban(scene)
    assert ban is not None
    assert (ban.ports, ban.standing, ban.effect) == ((80,), "header dropped", "drop header")
    assert "100% of its SYNs bear one header that no served client sent lately, and these are dropped: CPU 0" in (
        ban.reason
    )
    assert "keep a way through" not in ban.reason, "of a header that no served client sends"
    assert sum(bool(one.header) for tick in ticks for one in tick.decision.bans) == 1
    scene.lasts(140, every=1.0)
    assert bans(scene) == [EVERYBODY, DROPPED], "both are made anew while the flood goes on"
    scene.sensors.weather = Weather(finished=CLIENTS)
    scene.lasts(1000, every=20.0)
    assert bans(scene) == []


def test_without_a_bottleneck_no_header_is_dropped(tmp_path: Path) -> None:
    scene = new_scene(tmp_path)
    scene.sensors.weather = overwhelmed(EVERYWHERE, saturated=False)
    scene.lasts(10)
    assert bans(scene) == [EVERYBODY]


@pytest.mark.parametrize(
    ("clients", "looks", "why"),
    [
        (CLIENTS, 19, "19 of 20 looks"),
        (CLIENTS[:3], 20, "60 of 64 of their SYNs"),
        ((), 20, "0 of 64 of their SYNs"),
    ],
)
def test_a_source_is_dropped_whole_where_too_little_is_known_of_clients_and_the_reason_says_so(
    tmp_path: Path, clients: tuple[str, ...], looks: int, why: str
) -> None:
    scene = new_scene(tmp_path, clients, looks=looks)
    scene.sensors.weather = overwhelmed({"198.51.100.7": 15_000.0})
    scene.lasts(8)
    ((target, action, header),) = bans(scene)
    assert (target, action, header) == ("198.51.100.7/32", Action.DROP, "")
    (ban,) = scene.ledger.active_bans(scene.clock.utcnow()).values()
    assert f"no header is dropped: which headers served clients send is known from {why}" in ban.reason


@pytest.mark.parametrize(
    ("clients", "header_of", "why"),
    [
        (CLIENTS[:3], forged, "which headers served clients send is known from 60 of 64 of their SYNs"),
        (CLIENTS, lambda address: (64, 1024 + int(address.split(".")[0]), 0), "the commonest is on "),
    ],
)
def test_while_everybody_is_challenged_why_and_status_say_why_no_header_is_dropped(
    tmp_path: Path, clients: tuple[str, ...], header_of: Callable[[str], Header], why: str
) -> None:
    """Of a source it stood in the reason of its drop; of everybody, who is never dropped, it stood nowhere."""
    scene = new_scene(tmp_path, clients)
    scene.sensors.weather = overwhelmed(EVERYWHERE, header_of=header_of)
    scene.lasts(1.5)
    assert "no header" not in everybody_now(scene), "it is not its turn yet"
    scene.lasts(4)
    assert bans(scene) == [EVERYBODY]
    assert f"; no header is dropped: {why}" in everybody_now(scene)
    (record,) = [one for one in scene.ledger.verdicts_of(ip_network("0.0.0.0/0")) if one.verdict.target]
    scene.lasts(10)
    (record,) = [one for one in scene.ledger.verdicts_of(ip_network("0.0.0.0/0")) if one.verdict.target]
    assert f"no header is dropped: {why}" in record.verdict.reason
    scene.sensors.weather = replace(scene.weather, saturated=False)
    scene.lasts(4)
    assert "no header" not in everybody_now(scene)


def everybody_now(scene: Scene) -> str:
    """Return what ``synguard why 0.0.0.0/0`` and ``status`` say of everybody now."""
    status = read_status(scene.config.runtime_dir)
    assert status is not None
    return next(one.reason for one in status.targets if one.target == "0.0.0.0/0")


def test_a_source_is_limited_then_its_header_dropped_and_then_all_of_it_where_that_brings_no_relief(
    tmp_path: Path,
) -> None:
    scene = new_scene(tmp_path)
    scene.sensors.weather = overwhelmed({"198.51.100.7": 15_000.0})
    taken = []
    for _ in range(20):
        scene.lasts(0.5)
        taken += [one for one in bans(scene) if one not in taken]
    header = TOOL_S
    assert [one[1:] for one in taken] == [
        (Action.CHALLENGE, ""),
        (Action.LIMIT, ""),
        (Action.DROP, header),
        (Action.DROP, ""),
    ]


def test_a_policy_without_the_step_drops_no_header(tmp_path: Path) -> None:
    steps = POLICY.steps.model_copy(update=dict.fromkeys(("half_open", "syn_rate"), ("challenge", "limit", "drop")))
    scene = new_scene(tmp_path, policy=POLICY.model_copy(update={"steps": steps}))
    scene.sensors.weather = overwhelmed(EVERYWHERE)
    scene.lasts(5)
    assert bans(scene) == [EVERYBODY]


def test_a_header_that_served_clients_sent_is_never_dropped_whatever_its_ttl(tmp_path: Path) -> None:
    scene = new_scene(tmp_path)
    scene.sensors.weather = overwhelmed(EVERYWHERE, header_of=lambda address: (200, *natural(CLIENTS[0])[1:]))
    scene.lasts(5)
    assert bans(scene) == [EVERYBODY]


def test_headers_drawn_at_random_have_none_to_drop(tmp_path: Path) -> None:
    scene = new_scene(tmp_path)
    scene.sensors.weather = overwhelmed(EVERYWHERE, header_of=lambda address: (52, hash(address) % 65_536, 0x700D))
    scene.lasts(5)
    assert bans(scene) == [EVERYBODY]


def test_a_tool_of_two_headers_has_both_dropped_one_after_the_other(tmp_path: Path) -> None:
    def of_two(address: str) -> Header:
        return TOOL if int(address.rsplit(".", 1)[1]) % 3 else (52, 512, 0)

    scene = new_scene(tmp_path)
    scene.sensors.weather = overwhelmed(EVERYWHERE, header_of=of_two)
    scene.lasts(4)
    assert [one[2] for one in bans(scene) if one[2]] == [TOOL_S]
    scene.lasts(3)
    assert len([one for one in bans(scene) if one[2]]) == 2


def test_a_header_that_a_served_client_turns_out_to_send_is_dropped_no_more_and_not_again(tmp_path: Path) -> None:
    """Proven peers pass at their small rate whatever their header, so one that sends it is heard."""
    scene = new_scene(tmp_path)
    scene.sensors.weather = overwhelmed(EVERYWHERE)
    scene.lasts(5)
    assert header_ban(scene) is not None
    client = CLIENTS[7]
    scene.sensors.weather = replace(
        scene.sensors.weather,
        syn_pps=EVERYWHERE | {client: 2.0},
        header_of=lambda address: like_the_tool(address) if address == client else forged(address),
    )
    scene.lasts(4)
    assert bans(scene) == [EVERYBODY]
    ended = [one for one in scene.ledger.bans_since(scene.clock.utcnow().replace(year=2020)) if one.ban.header]
    assert [one.ended_why for one in ended] == ["a served client sends this header"]
    scene.lasts(4)
    assert bans(scene) == [EVERYBODY]


def test_one_syn_in_the_name_of_a_served_client_saves_no_tool(tmp_path: Path) -> None:
    """Of addresses drawn at random, now and then one is a served client's."""
    scene = new_scene(tmp_path)
    scene.sensors.weather = overwhelmed(EVERYWHERE)
    scene.lasts(5)
    for client in CLIENTS[:2]:
        scene.sensors.weather = overwhelmed(EVERYWHERE | {client: 20.0})
        scene.lasts(0.05)
        scene.sensors.weather = overwhelmed(EVERYWHERE)
        scene.lasts(1.5)
    assert header_ban(scene) is not None


def test_a_new_agent_renews_what_was_dropped_and_drops_no_other_header_before_ten_minutes_of_calm(
    tmp_path: Path,
) -> None:
    """What served clients send is not kept over a restart: until it is learnt again, no header is judged."""
    scene = new_scene(tmp_path)
    scene.sensors.weather = overwhelmed(EVERYWHERE)
    scene.lasts(5)
    scene.restarts()
    scene.lasts(140, every=1.0)
    assert bans(scene) == [EVERYBODY, DROPPED]
    scene.sensors.weather = overwhelmed(EVERYWHERE, header_of=lambda address: (52, 512, 0x700D))
    scene.lasts(140, every=1.0)
    assert bans(scene) == [EVERYBODY], "the tool changed its header, and the new agent knows no client's"
    scene.sensors.weather = Weather(finished=CLIENTS)
    scene.lasts(200, every=20.0)
    scene.has_seen_served_clients(CLIENTS)
    scene.lasts(7)
    scene.sensors.weather = overwhelmed(EVERYWHERE)
    scene.lasts(5)
    assert bans(scene) == [EVERYBODY, DROPPED]


def test_dry_run_says_why_it_names_no_header(tmp_path: Path) -> None:
    scene = Scene(tmp_path, POLICY, config=ENFORCE.model_copy(update={"mode": Mode.DRY_RUN}), challenge=WORKS)
    scene.lasts(6)
    scene.sensors.weather = overwhelmed({"198.51.100.7": 15_000.0}, whole_headers=False)
    scene.lasts(8)
    (ban,) = scene.ledger.active_bans(scene.clock.utcnow(), dry_run=True).values()
    assert "no header is dropped: in dry-run no program counts headers" in ban.reason
