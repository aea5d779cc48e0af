"""What the agent writes down of the pressure it lived through, told as it happens."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from synguard.agent.history import KEPT, History
from synguard.errors import LedgerError
from synguard.ledger import Figure, Stretch
from synguard.policy.load import load_policies
from synguard.policy.models import Config
from tests.support.manual_clock import START
from tests.support.scene import Scene


class Witnessed(Scene):
    """A scene with a history."""

    def __init__(self, tmp_path: Path) -> None:
        config = Config()
        super().__init__(tmp_path, *load_policies(config), config=config)
        self.witness()

    def witness(self) -> None:
        self.history = History(self.ledger)
        self.agent.observers.append(self.history.observe)

    def told(self, since: datetime = START - timedelta(days=1), grain_s: float = 1e-6) -> list[Stretch]:
        self.history.close()
        return self.ledger.history(since, self.clock.utcnow() + timedelta(days=1), grain_s)


@pytest.fixture
def scene(tmp_path: Path) -> Witnessed:
    return Witnessed(tmp_path)


def flood(scene: Scene) -> None:
    scene.weather.half_open = {f"198.18.7.{n}": 1 for n in range(1, 129)}
    scene.weather.syn_pps = {f"198.18.7.{n}": 80.0 for n in range(1, 129)}
    scene.weather.dropped_pps = 9000.0


def test_a_calm_minute_is_some_rows_and_every_second_of_it_is_known(scene: Witnessed) -> None:
    scene.weather.connections = {"203.0.113.5": 4}
    scene.weather.completed_pps = 20.0
    scene.lasts(60)
    told = scene.told()
    assert len(told) <= 7
    assert sum(one.watched_s for one in told) == pytest.approx(60, abs=0.5)
    assert sum(one.tracks[Figure.HALF_OPEN].seconds for one in told) == pytest.approx(60, abs=0.5)
    assert {one.tracks[Figure.HALF_OPEN].most for one in told} == {0}
    assert max(one.tracks[Figure.CONNECTIONS].most for one in told) == 4
    assert sum(one.tracks[Figure.COMPLETED].total for one in told) == pytest.approx(1200, rel=0.05)


def test_the_syn_rate_is_not_known_in_calm_and_known_in_a_flood(scene: Witnessed) -> None:
    scene.lasts(20)
    calm = scene.clock.utcnow()
    flood(scene)
    scene.lasts(10)
    told = scene.told()
    assert [one for one in told if one.until <= calm and Figure.SYNS in one.tracks] == []
    assert max(one.tracks[Figure.SYNS].most for one in told if Figure.SYNS in one.tracks) == pytest.approx(
        10240, rel=0.1
    )


def test_a_flood_is_told_by_the_second_its_full_queue_as_censored(scene: Witnessed) -> None:
    scene.lasts(20)
    flood(scene)
    scene.lasts(20)
    attacked = [one for one in scene.told() if one.censored_s]
    assert sum(one.censored_s for one in attacked) == pytest.approx(20, abs=1)
    assert len([one for one in attacked if one.span_s <= 1.1]) >= 15
    assert max(one.fill for one in attacked) >= 1.0
    assert max(one.tracks[Figure.DROPPED].mean for one in attacked) == pytest.approx(9000, rel=0.1)


def test_a_blind_sensor_leaves_a_gap_and_no_zero(scene: Witnessed) -> None:
    scene.weather.half_open = {"203.0.113.5": 3}
    scene.lasts(20)
    scene.weather.broken = frozenset({"half_open"})
    scene.lasts(20)
    scene.weather.broken = frozenset()
    scene.lasts(40)
    told = scene.told()
    assert {one.tracks[Figure.HALF_OPEN].least for one in told if Figure.HALF_OPEN in one.tracks} == {3}
    known = sum(one.tracks[Figure.HALF_OPEN].seconds for one in told if Figure.HALF_OPEN in one.tracks)
    watched = sum(one.watched_s for one in told)
    assert watched == pytest.approx(80, abs=1)
    assert 15 <= watched - known <= 60


def test_an_agent_that_did_not_run_leaves_a_gap(scene: Witnessed) -> None:
    scene.lasts(30)
    scene.history.close()
    scene.clock.advance(600)
    scene.restarts()
    scene.witness()
    scene.lasts(30)
    told = scene.told()
    gaps = [(after.at - before.until).total_seconds() for before, after in pairwise(told)]
    assert max(gaps) == pytest.approx(600, abs=1)
    assert sum(one.watched_s for one in told) == pytest.approx(60, abs=1)


def test_a_host_that_slept_was_not_watched_meanwhile(scene: Witnessed) -> None:
    scene.lasts(30)
    scene.clock.advance(3600)
    scene.lasts(30)
    assert sum(one.watched_s for one in scene.told()) == pytest.approx(60, abs=1)


@pytest.mark.parametrize(("jump_s", "from_end_to_end_s"), [(3600.0, 3660.0), (-3600.0, 3600.0)])
def test_a_clock_that_is_set_loses_nothing_and_stretches_nothing(
    scene: Witnessed, jump_s: float, from_end_to_end_s: float
) -> None:
    scene.lasts(30)
    scene.clock.jump(jump_s)
    scene.lasts(30)
    told = scene.told()
    assert sum(one.watched_s for one in told) == pytest.approx(60, abs=1)
    assert max(one.span_s for one in told) < 11
    assert (max(one.until for one in told) - told[0].at).total_seconds() == pytest.approx(from_end_to_end_s, abs=2)


def test_a_ledger_in_use_delays_no_tick_and_loses_no_history(scene: Witnessed, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    scene.lasts(10)
    other.execute(
        "BEGIN IMMEDIATE"
    )  # the ledger's patience is 5 s; each of its waits would show in the test's time-out
    scene.lasts(60)
    other.execute("ROLLBACK")
    other.close()
    scene.lasts(20)
    assert sum(one.watched_s for one in scene.told()) == pytest.approx(90, abs=1)


def test_a_ledger_that_fails_for_long_loses_only_the_oldest_history_and_is_told_once(
    scene: Witnessed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(stretches: object) -> None:
        raise LedgerError("cannot save to ledger.db: the disk is full")

    caplog.set_level("INFO")
    monkeypatch.setattr(scene.ledger, "add_history", full)
    scene.lasts(10 * (KEPT + 60), every=10.0)
    assert len(scene.history._made) == KEPT
    assert sum("history of pressure is not kept" in record.message for record in caplog.records) == 1
    monkeypatch.undo()
    scene.lasts(20, every=10.0)
    assert len(scene.told()) == pytest.approx(KEPT, abs=3)
    assert caplog.records[-1].message == "the history of pressure is kept again"


def test_it_writes_no_more_than_every_five_seconds(scene: Witnessed, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[float] = []
    add = scene.ledger.add_history
    monkeypatch.setattr(scene.ledger, "add_history", lambda made: (written.append(scene.clock.monotonic()), add(made)))
    flood(scene)
    scene.lasts(60)
    between = [after - before for before, after in pairwise(written)]
    assert len(written) >= 10
    assert min(between) >= 5.0 - 1e-6


def test_the_peak_of_a_rate_is_that_of_a_second_and_not_of_a_tick(scene: Witnessed) -> None:
    """A tick of 50 ms sees two handshakes or none, which would make forty a second look like nothing and eighty."""
    flood(scene)
    scene.weather.completed_pps = 30.0
    scene.lasts(30)
    completed = [one.tracks[Figure.COMPLETED] for one in scene.told()[2:-1]]
    assert min(track.least for track in completed) >= 25
    assert max(track.most for track in completed) <= 35
