"""Real floods, recorded in the lab (``python -m tests.support.record_floods``) and judged again."""

from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest

from synguard.addresses import covers, parse_network
from synguard.model import Scope
from synguard.policy.load import load_policies
from synguard.policy.models import Config
from synguard.recording.reader import Recording
from synguard.replay.player import Player
from synguard.replay.replay_result import ReplayResult

RECORDINGS = Path(__file__).parent / "recordings"
CLIENTS = parse_network("172.20.0.0/16")


def played(name: str, *packs: str) -> ReplayResult:
    config = Config(policies=packs or ("default",))
    player, story = Player(config, load_policies(config)), ReplayResult()
    with Recording(RECORDINGS / f"{name}.rec") as recording:
        for moment in recording.moments():
            story.add(player.play(moment), player.scores)
        assert not recording.cut_short
    return story


def targets(story: ReplayResult) -> set[str]:
    return {str(ban.target) for ban in story.bans}


def kinds(story: ReplayResult) -> list[str]:
    return [one.kind for one in story.finished_incidents()]


def test_128_sources_of_one_network_are_all_banned_and_no_client_is() -> None:
    story = played("prefix-128")
    attackers = [network for i, network in enumerate(ip_network("198.18.7.0/24").subnets(new_prefix=32)) if i % 2]
    assert all(any(covers(ban.target, one) for ban in story.bans) for one in attackers)
    assert all(covers(parse_network("198.18.7.0/24"), ban.target) for ban in story.bans)
    assert {ban.scope for ban in story.bans} == {Scope.NEW}
    assert kinds(story) == ["syn-flood"]
    onset = story.finished_incidents()[0].started_at
    assert max((ban.created_at - onset).total_seconds() for ban in story.bans) < 1.0


def test_five_heavy_sources_hidden_in_a_random_flood_are_banned_and_nobody_else_is() -> None:
    story = played("random-with-heavy")
    assert targets(story) == {f"198.51.100.{number}/32" for number in range(1, 6)}
    assert kinds(story) == ["spoofed-flood"]
    assert story.floods[0].kind == "spoofed"


def test_real_connections_of_three_sources_are_stopped_whole() -> None:
    story = played("connections")
    assert targets(story) == {f"203.0.113.{number}/32" for number in range(1, 4)}
    assert {ban.scope for ban in story.bans} == {Scope.ALL}
    assert kinds(story) == ["connection-flood"]


def test_the_pack_for_servers_behind_a_proxy_would_have_banned_no_source_for_its_connections() -> None:
    assert targets(played("connections", "proxied")) == set()


@pytest.mark.parametrize("name", ["prefix-128", "random-with-heavy", "connections"])
def test_recordings_are_small_and_tell_nothing_of_the_machine_that_made_them(name: str) -> None:
    assert (RECORDINGS / f"{name}.rec").stat().st_size < 200 * 1024
    lab = [parse_network(text) for text in ("192.0.2.0/24", "2001:db8::/32", "127.0.0.0/8", "::1", "fe80::/10")]
    with Recording(RECORDINGS / f"{name}.rec") as recording:
        for moment in recording.moments():
            assert all(any(covers(wide, one) for wide in lab) for one in moment.protected.networks)
            assert {one.process for one in moment.readings.listeners} <= {"nginx[80]"}


@pytest.mark.parametrize("words", [["--json"], []])
def test_replay_prints_the_same_bytes_in_every_process(words: list[str]) -> None:
    """Sets iterate differently in every process: an order that leaked out of one would change the output."""
    command = [sys.executable, "-m", "synguard", "policy", "replay", str(RECORDINGS / "prefix-128.rec"), *words]
    outputs = {
        subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
