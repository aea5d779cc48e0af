"""The kernel's places fill up: it is told ahead, nothing is dropped in silence, and what waited comes in."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from synguard.addresses import format_network
from synguard.agent import enforcement
from synguard.ledger import LEDGER_FILE, Ledger
from synguard.model import Ban
from tests.scenario.test_faults import status
from tests.scenario.test_floods import ENFORCE, POLICY
from tests.support.bans import ban
from tests.support.fake_plane import FakePlane
from tests.support.scene import Scene

CEILING = 100


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path, POLICY, config=ENFORCE, plane=FakePlane(max_elements=CEILING))
    scene.fake.utcnow = scene.clock.utcnow
    return scene


def order(scene: Scene, numbers: range, seconds: float = 600.0) -> list[Ban]:
    """Have another process write bans into the ledger, as verbs on a host without room check would."""
    start = scene.clock.utcnow()
    bans = [ban(f"b{number}", f"198.51.100.{number}", start=start, seconds=seconds) for number in numbers]
    scene.ledger.add_bans(bans)
    scene.agent.adopt()
    scene.lasts(2)
    return bans


def said(caplog: pytest.LogCaptureFixture, words: str) -> int:
    return sum(words in record.message for record in caplog.records)


def test_a_place_that_fills_up_is_told_of_once_before_it_is_full(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    order(scene, range(79))
    assert status(scene).notes == ()
    order(scene, range(79, 81))
    scene.lasts(60)
    assert any("81 of at most 100 (81%)" in note for note in status(scene).notes)
    assert status(scene).healthy
    assert said(caplog, "81 of at most 100") == 1
    assert ("ceilings.members", 81, CEILING) in {(one.key, one.used, one.ceiling) for one in status(scene).ceilings}


def test_bans_beyond_the_ceiling_wait_are_told_of_and_come_in_once_there_is_room(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = order(scene, range(95), seconds=120)
    later = order(scene, range(95, 110))
    scene.lasts(20)
    assert len(scene.held()) == CEILING
    assert not status(scene).healthy
    assert "10 bans are not in the kernel" in status(scene).problems[0]
    assert said(caplog, "bans are not in the kernel") == 1
    assert len(scene.ledger.active_bans(scene.clock.utcnow())) == 110
    scene.lasts(120)
    assert scene.held() == {str(one.target.network_address) for one in later}
    assert not {one.id for one in first} & set(scene.plane.read().bans)
    assert status(scene).problems == ()
    assert said(caplog, "the kernel holds all bans again") == 1


def test_a_ban_that_ends_while_it_waits_never_comes_in(scene: Scene) -> None:
    order(scene, range(CEILING))
    order(scene, range(CEILING, CEILING + 5), seconds=30)
    scene.lasts(40)
    scene.ledger.end_bans([f"b{number}" for number in range(50)], scene.clock.utcnow(), "unbanned by hand")
    scene.agent.adopt()
    scene.lasts(2)
    assert len(scene.held()) == 50
    assert status(scene).problems == ()


def test_a_restart_at_the_ceiling_leaves_the_kernel_as_it_is(scene: Scene) -> None:
    order(scene, range(CEILING + 10))
    held = scene.held()
    applied = scene.fake.calls.count("apply")
    scene.restarts()
    scene.lasts(20)
    assert scene.held() == held
    assert scene.fake.calls.count("apply") == applied


def test_a_long_list_comes_in_pieces_and_what_changes_meanwhile_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enforcement, "AT_ONCE", 10)
    scene = Scene(tmp_path, POLICY, config=ENFORCE, plane=FakePlane())
    scene.fake.utcnow = scene.clock.utcnow
    scene.lasts(1)
    start = scene.clock.utcnow()
    listed = [ban(f"l{n}", f"198.51.100.{n}", start=start) for n in range(35)]
    with Ledger.open(tmp_path / LEDGER_FILE) as other:
        other.add_bans(listed)
        scene.lasts(0.2)
        assert not scene.held()  # which there are was found in a tick of its own
        scene.lasts(0.2)
        assert len(scene.held()) == 10
        scene.agent._parts.enforcement.add([ban("own", "203.0.113.1", start=start)])
        other.end_bans(["l1", "l34"], start, "by hand")
        scene.lasts(0.2)
        assert {"198.51.100.1", "203.0.113.1"} < scene.held()
        scene.lasts(2)
    left = {format_network(one.target) for one in listed if one.id not in ("l1", "l34")}
    assert scene.held() == left | {"203.0.113.1"}
    assert scene.agent._parts.enforcement.bans.keys() == {one.id for one in listed} - {"l1", "l34"} | {"own"}


def test_what_a_look_at_many_bans_took_is_given_back_and_no_list_is_held_on_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16,384 bans of the first pass stayed objects until the second, and what a look took stayed with the agent."""
    given_back = list[int]()
    monkeypatch.setattr(enforcement, "MANY", 30)
    monkeypatch.setattr(enforcement, "give_back", lambda: given_back.append(1))
    scene = Scene(tmp_path, POLICY, config=ENFORCE, plane=FakePlane())
    scene.fake.utcnow = scene.clock.utcnow
    start = scene.clock.utcnow()
    scene.ledger.add_bans([ban(f"l{n}", f"198.51.100.{n}", start=start) for n in range(35)])
    scene.restarts()
    scene.lasts(0.2)
    assert given_back == [1]
    outcome = scene.agent._parts.enforcement.outcome
    assert outcome is not None
    assert (len(outcome.held), outcome.change.add, outcome.change.frame) == (35, (), True)
