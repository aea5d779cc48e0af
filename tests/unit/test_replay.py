"""Replay: the agent's judgement again, from a file, the same every time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from synguard.addresses import parse_network
from synguard.decision.scores import Scores
from synguard.policy.models import Config, Limits, Policy
from synguard.readings import Protected, Readings
from synguard.recording.shape import Moment
from synguard.replay.player import Player
from synguard.replay.replay_result import ReplayResult
from tests.support.traffic import Counts, listener, sockets, syns, table

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
POLICY = Policy(
    name="default",
    limits=Limits(half_open=64, syn_rate=100, connections=300),
    prefix_limits=Limits(half_open=256, syn_rate=500, connections=1000),
)
ATTACKER = "198.51.100.7"


def moment(at: float, half_open: Counts, protected: Protected | None = None, syn: Counts | None = None) -> Moment:
    readings = Readings(
        at=at,
        half_open=sockets(at, table(half_open)),
        connections=sockets(at),
        listeners=(listener(80, 1024),),
        syns=syns(at, syn, 0.1) if syn is not None else None,
    )
    return Moment(START + timedelta(seconds=at), readings, protected or Protected({}), 0)


def told(
    half_open: Counts, seconds: float = 3.0, protected: Protected | None = None, player: Player | None = None
) -> ReplayResult:
    player, story = player or Player(Config(), [POLICY]), ReplayResult()
    for tick in range(int(seconds * 10)):
        story.add(player.play(moment(tick / 10, half_open, protected)), player.scores)
    return story


def test_a_source_over_its_limit_is_banned_at_the_time_it_was() -> None:
    story = told({ATTACKER: 300})
    assert [str(ban.target) for ban in story.bans] == [f"{ATTACKER}/32"]
    assert START < story.bans[0].created_at < START + timedelta(seconds=1)
    assert story.bans[0].dry_run
    assert story.bans[0].id == "r1"


def test_whom_the_recording_protects_is_spared_and_told_so() -> None:
    story = told({ATTACKER: 300}, protected=Protected({parse_network(ATTACKER): "default gateway via eth0"}))
    assert story.bans == []
    [spared] = story.spared
    assert spared.reason == "protected: default gateway via eth0"
    assert spared.score > 100
    assert spared.first_at < spared.last_at


def test_whom_the_configuration_allows_now_is_spared_too() -> None:
    player = Player(Config(), [POLICY], allowed={parse_network("198.51.100.0/24"): "allow-list"})
    assert [one.reason for one in told({ATTACKER: 300}, player=player).spared] == ["protected: allow-list"]


def test_not_knowing_whom_to_protect_suspends_bans_as_it_did_then() -> None:
    story = told({ATTACKER: 300}, protected=Protected({}, ("allow.txt cannot be read",)))
    assert story.bans == []
    assert list(story.refusals) == ["automatic bans are suspended: allow.txt cannot be read"]


def test_who_comes_close_is_named_with_the_highest_score() -> None:
    story = told({ATTACKER: 70, "192.0.2.1": 3}, seconds=2.0)
    assert story.bans == []
    [close] = story.close
    assert str(close.target) == f"{ATTACKER}/32"
    assert 10 < close.score < 30
    assert (close.evidence.value, close.evidence.limit) == (70, 64)


def test_who_is_banned_in_the_end_did_not_only_come_close() -> None:
    assert told({ATTACKER: 80}, seconds=6.0).close == []


def test_a_ban_that_expires_is_followed_by_a_longer_one() -> None:
    story = told({ATTACKER: 300}, seconds=150.0)
    assert [ban.times for ban in story.bans] == [1, 2]
    assert story.bans[1].created_at - story.bans[0].created_at < timedelta(seconds=140)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_same_seed_tells_the_same_story(seed: int) -> None:
    def once() -> ReplayResult:
        return told({ATTACKER: 300, "192.0.2.77": 90}, 20.0, player=Player(Config(), [POLICY], seed))

    assert once() == once()


def test_another_seed_jitters_otherwise() -> None:
    lengths = {told({ATTACKER: 300}, player=Player(Config(), [POLICY], seed)).bans[0].expires_at for seed in range(3)}
    assert len(lengths) == 3


def test_missing_samples_are_told_once_the_sampler_would_have_run() -> None:
    player, story = Player(Config(), [POLICY]), ReplayResult()
    crowd = {f"192.0.2.{i}": 3 for i in range(200)}
    for tick in range(10):
        story.add(player.play(moment(tick / 10, crowd)), player.scores)
    assert story.blind_ticks == 8
    for tick in range(10, 20):
        story.add(player.play(moment(tick / 10, crowd, syn={})), player.scores)
    assert story.blind_ticks == 8


def test_a_story_of_nothing_is_empty() -> None:
    story = ReplayResult()
    assert (story.bans, story.close, story.spared, story.finished_incidents()) == ([], [], [], [])
    assert len(Scores({})) == 0


def test_whatever_recorded_the_replay_bans_what_the_agent_banned(tmp_path: Path) -> None:
    """The agent in dry-run and the replay of what it saw come to the same bans at the same times."""
    from synguard.recording.reader import Recording
    from synguard.recording.recorder import Recorder
    from tests.support.scene import Scene

    scene = Scene(tmp_path, POLICY)
    with Recorder(tmp_path / "x.rec", 1 << 24, "dry-run") as recorder:
        scene.agent.sensing.record = recorder.record
        scene.lasts(2)
        scene.weather.half_open = {ATTACKER: 129}
        scene.weather.syn_pps = {ATTACKER: 5000, "203.0.113.9": 400}
        scene.weather.dropped_pps = 5000
        scene.lasts(4)
    player, story = Player(scene.config, [POLICY]), ReplayResult()
    with Recording(tmp_path / "x.rec") as recording:
        for one in recording.moments():
            story.add(player.play(one), player.scores)
    live = scene.ledger.active_bans(scene.clock.utcnow(), dry_run=True).values()
    assert {(ban.target, ban.created_at, ban.reason) for ban in story.bans} == {
        (ban.target, ban.created_at, ban.reason) for ban in live
    }
    assert len(story.bans) == 2
    assert story.blind_ticks == 0
