"""Floods that fill no SYN queue are seen by their rate: they were called healthy, without a rate or an incident."""

from __future__ import annotations

from pathlib import Path

from synguard.decision.ladder import ChallengeState
from synguard.model import Action
from tests.scenario.test_challenge import POLICY, actions, new_scene
from tests.support.scene import Weather


def test_a_flood_on_a_closed_port_is_an_incident_with_its_rate_and_bans_no_one(tmp_path: Path) -> None:
    scene = new_scene(tmp_path, policy=POLICY)
    scene.sensors.weather = Weather(refused_pps=15_000.0)
    last = scene.lasts(3)[-1].decision
    assert last.incident is not None
    assert (last.incident.kind, round(last.incident.peak_syn_pps, -3)) == ("closed-port", 15_000)
    assert last.flood_verdict.startswith("closed port: 15,0")
    assert actions(scene) == {}


def test_the_rate_that_is_kept_of_such_a_flood_is_that_of_its_peak(tmp_path: Path) -> None:
    """The report of the next morning named the last second, in which the flood was over: 1,015 of 10,000 a second."""
    scene = new_scene(tmp_path, policy=POLICY)
    scene.sensors.weather = Weather(refused_pps=15_000.0)
    scene.lasts(3)
    scene.sensors.weather = Weather(refused_pps=1_200.0)
    last = scene.lasts(3)[-1].decision
    assert last.flood_verdict.startswith("closed port: 1,2")
    assert last.incident is not None
    assert last.incident.note.startswith("closed port: 15,0")


def test_sources_that_answer_with_resets_are_challenged_although_no_queue_fills(tmp_path: Path) -> None:
    scene = new_scene(tmp_path, ChallengeState(works=True))
    loud = {f"198.51.100.{host}": 1_500.0 for host in range(1, 11)}
    scene.sensors.weather = Weather(syn_pps=loud, resets_pps=15_000.0)
    ticks = scene.lasts(5)
    assert ticks[-1].decision.incident is not None
    assert any(tick.decision.flood_verdict.startswith("resets: 15,0") for tick in ticks)
    assert set(actions(scene).values()) == {Action.CHALLENGE}


def test_connections_that_a_ban_destroys_are_no_flood_on_a_closed_port(tmp_path: Path) -> None:
    """A ban of four sources with 6,800 connections was reported as 6,279 packets a second to closed ports."""
    scene = new_scene(tmp_path)
    scene.sensors.weather = Weather(destroyed_pps=6_000.0)
    last = scene.lasts(3)[-1].decision
    assert (last.incident, last.flood_verdict) == (None, "")


def test_it_is_over_when_the_packets_stop(tmp_path: Path) -> None:
    scene = new_scene(tmp_path)
    scene.sensors.weather = Weather(refused_pps=15_000.0)
    scene.lasts(3)
    scene.sensors.weather = Weather()
    assert scene.lasts(60)[-1].decision.incident is None


def test_some_hundred_resets_a_second_are_no_flood(tmp_path: Path) -> None:
    scene = new_scene(tmp_path)
    scene.sensors.weather = Weather(refused_pps=600.0, resets_pps=300.0)
    assert scene.lasts(5)[-1].decision.incident is None
