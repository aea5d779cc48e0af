"""A calm agent glances at the host between two ticks, and ticks once a second while nothing stirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from synguard.agent.enforcement import AT_ONCE, MOST_BROUGHT
from synguard.agent.pace import LONGEST_REST_S
from synguard.agent.tick import Tick
from synguard.decision.ladder import ChallengeState
from synguard.ledger import LEDGER_FILE, Ledger
from synguard.model import Mode
from synguard.policy.models import Config
from synguard.readings import CounterReading
from synguard.status.conditions import Code
from tests.scenario.test_forged import flood
from tests.scenario.test_onset import ATTACKER, POLICY
from tests.support.bans import ban
from tests.support.fake_plane import FakePlane
from tests.support.protection import scattered
from tests.support.scene import Scene, Weather

Seen = list[tuple[float, Tick]]


def watched(tmp_path: Path, *, glances: bool = True) -> tuple[Scene, Seen]:
    scene, seen = Scene(tmp_path, POLICY, config=Config(), glances=glances), []
    began = scene.clock.monotonic()

    def watch(tick: Tick, now: float, _utc: datetime) -> None:
        seen.append((round(now - began, 3), tick))

    scene.agent.observers.append(watch)
    return scene, seen


def at(scene: Scene, seconds: float, change: Callable[[], None]) -> None:
    """Let the weather change once so much time has passed, in the midst of a wait too."""
    due, advance = scene.clock.monotonic() + seconds, scene.clock.advance

    def go_on(passed: float) -> None:
        advance(passed)
        if scene.clock.monotonic() >= due:
            change()

    scene.clock.advance = go_on  # type: ignore[method-assign]  # the test's own clock


def test_while_nothing_stirs_a_tick_comes_once_a_second(tmp_path: Path) -> None:
    scene, seen = watched(tmp_path)
    scene.lives(10.0)
    assert len([moment for moment, _ in seen if moment >= 1]) == 9


@pytest.mark.parametrize(
    "stirs",
    [
        Weather(half_open={ATTACKER: 9}),
        Weather(cookies_pps=100.0),
        Weather(dropped_pps=100.0),
        Weather(refused_pps=1000.0),
        Weather(broken=frozenset({"counters"})),
    ],
    ids=["half-open sockets", "cookies", "drops", "resets", "what cannot be looked at"],
)
def test_what_stirs_brings_the_next_tick_as_soon_as_without_a_rest(tmp_path: Path, stirs: Weather) -> None:
    scene, seen = watched(tmp_path)
    at(scene, 5.3, lambda: setattr(scene.sensors, "weather", stirs))
    scene.lives(6.0)
    assert any(5.3 <= moment <= 5.3 + Config().cadence.calm for moment, _ in seen)


def test_a_flood_is_acted_on_as_soon_as_without_a_rest(tmp_path: Path) -> None:
    found = []
    for number, glances in enumerate((True, False)):
        home = tmp_path / str(number)
        home.mkdir()
        scene, seen = watched(home, glances=glances)
        at(scene, 5.05, lambda scene=scene: setattr(scene.sensors, "weather", flood({ATTACKER: 15_000.0})))  # type: ignore[misc]
        scene.lives(7.0)
        found.append(next(moment for moment, tick in seen if tick.decision.bans))
    rested, awake = found
    assert rested <= awake + Config().cadence.calm


def test_what_a_tick_finds_after_a_rest_has_not_lasted_for_all_of_it(tmp_path: Path) -> None:
    """Half-open sockets that came after the last glance are scored from that glance on, not from the last tick on."""
    scene, seen = watched(tmp_path)
    at(scene, 5.3, lambda: setattr(scene.sensors, "weather", Weather(half_open={ATTACKER: 120}, backlog=4096)))
    scene.lives(5.6)
    first = next(tick for moment, tick in seen if moment >= 5.3)
    assert max(first.assessment.elapsed.values()) <= Config().cadence.calm + 1e-6


def test_while_an_attack_stands_ticks_come_as_on_a_calm_host_and_a_surge_brings_one_at_once(tmp_path: Path) -> None:
    scene, seen = watched(tmp_path)
    attack, cadence = flood({ATTACKER: 15_000.0}), Config().cadence
    surged: list[Any] = []
    at(scene, 2.0, lambda: setattr(scene.sensors, "weather", surged[1] if surged else attack))

    def surge(_tick: Tick, _now: float, _utc: datetime) -> None:
        if seen[-1][0] >= 12.0 and not surged:
            surged.extend([seen[-1][0], replace(attack, dropped_pps=40_000.0)])

    scene.agent.observers.append(surge)
    scene.lives(13.0)

    def between(start: float, end: float) -> list[float]:
        return [moment for moment, _ in seen if start <= moment < end]

    assert any(tick.decision.bans for _, tick in seen)
    assert len(between(2.0, 4.0)) >= 1.8 / cadence.attack, "close while it is new"
    assert len(between(8.0, 12.0)) <= 4.1 / cadence.calm
    assert len(between(surged[0], surged[0] + cadence.attack + 0.001)) == 2, "the look after the surge finds it"


def test_sources_that_are_challenged_with_all_others_keep_no_ticks_quick_by_seeming_to_rise(tmp_path: Path) -> None:
    """Of 128 one or another seemed to rise in each tick, for chance: the attack never stood as it stood."""
    scene = Scene(tmp_path, POLICY, glances=True, challenge=ChallengeState(works=True))
    attack = dict.fromkeys(scattered(128), 40.0)
    moments: list[float] = []
    bans: set[str] = set()

    def watch(tick: Tick, now: float, _utc: datetime) -> None:
        moments.append(now)
        bans.update(str(ban.target) for ban in tick.decision.bans)
        if bans:
            risen = {list(attack)[len(moments) % 128]: 1_500.0}
            scene.sensors.weather = Weather(syn_pps=attack | risen)

    scene.sensors.weather = flood(attack)
    scene.agent.observers.append(watch)
    scene.lives(10.0)
    assert bans == {"0.0.0.0/0"}
    late = [moment for moment in moments if moment > moments[-1] - 4.0]
    assert len(late) <= 4.1 / scene.config.cadence.calm


def test_a_glance_asks_the_counters_and_not_for_resets_that_scanners_cause() -> None:
    from synguard.agent.quiet import Glance

    values = {"SyncookiesSent": 5, "OutRsts": 100}
    glance = Glance(lambda: 0, lambda now: CounterReading(now, dict(values)))
    glance.stirred(0.0)
    values["OutRsts"] += 5
    assert not glance.stirred(0.2)
    values["OutRsts"] += 50
    assert glance.stirred(0.4)
    values["SyncookiesSent"] += 1
    assert glance.stirred(0.6)
    assert not glance.stirred(0.8)


def test_a_glance_at_a_host_to_which_no_segment_came_is_one_small_file() -> None:
    from synguard.agent.quiet import FEW, Glance

    looks: list[str] = []
    values = {"InSegs": 100, "SyncookiesSent": 0}

    def noted(what: str) -> CounterReading:
        looks.append(what)
        return CounterReading(0.0, dict(values))

    def half_open() -> int:
        looks.append("sockets")
        return 0

    glance = Glance(half_open, lambda _: noted("all"), segments=lambda: noted("segments").values)
    assert not glance.stirred(0.0)
    looks.clear()
    assert not glance.stirred(0.2)
    assert looks == ["segments"]
    values["InSegs"] += FEW
    assert not glance.stirred(0.4)
    assert looks == ["segments"] * 2 + ["all"], "so few segments leave no more sockets half-open than a calm host has"
    values["InSegs"] += 1
    assert not glance.stirred(0.6)
    assert looks[-1] == "sockets"


def test_a_glance_counts_sockets_only_where_segments_may_have_been_syns_that_no_connection_came_of() -> None:
    """At 60 connections a second each look walked the kernel's whole hash, which was half of what a calm agent cost."""
    from synguard.agent.quiet import FEW, Glance

    counted: list[str] = []
    values = dict.fromkeys(("InSegs", "TCPPureAcks", "TCPHPAcks", "PassiveOpens", "SyncookiesRecv"), 0)

    def half_open() -> int:
        counted.append("sockets")
        return 0

    def arrive(**grown: int) -> None:
        values.update({name: values[name] + more for name, more in grown.items()})

    glance = Glance(half_open, lambda now: CounterReading(now, dict(values)))
    glance.stirred(0.0)
    assert counted, "it knows of none at first"
    counted.clear()
    for look in range(10):
        arrive(InSegs=6 * 60, TCPPureAcks=2 * 60, TCPHPAcks=60, PassiveOpens=60)
        assert not glance.stirred(0.2 * look)
    assert not counted
    arrive(InSegs=6 * 60 + FEW, TCPPureAcks=2 * 60, TCPHPAcks=60, PassiveOpens=60)
    glance.stirred(2.2)
    assert not counted
    arrive(InSegs=1)
    glance.stirred(2.4)
    assert counted, "SYNs add up from look to look"
    counted.clear()
    arrive(InSegs=6 * 60, TCPPureAcks=2 * 60, TCPHPAcks=60, PassiveOpens=60, SyncookiesRecv=60)
    glance.stirred(2.6)
    assert counted, "a connection by cookie had no half-open socket"


def test_before_a_tick_that_follows_at_once_there_is_no_look(tmp_path: Path) -> None:
    scene, seen = watched(tmp_path)
    looks: list[float] = []
    glance = scene.agent.sensing.sensors.glance
    assert glance is not None
    with patch.object(glance, "stirred", side_effect=lambda now: looks.append(now)):
        scene.lives(10.0)
    assert len(looks) <= 4 * len(seen)
    assert len(looks) >= 4 * 8, "looks come every 0.2 s all the same"


def test_after_a_tick_that_took_half_a_minute_of_cpu_time_the_next_is_seconds_away(tmp_path: Path) -> None:
    """A quarter of a core is what ticks may take; one dear tick paid for it with two minutes without another."""
    scene, seen = watched(tmp_path)
    spent = iter((0.0, 30.0))
    with patch("time.thread_time", side_effect=lambda: next(spent, 30.0)):
        scene.agent.run(for_s=60.0)
    assert seen[1][0] - seen[0][0] == pytest.approx(30.0 + LONGEST_REST_S)


def test_a_start_with_many_bans_brings_them_tick_by_tick_and_judges_a_flood_meanwhile(tmp_path: Path) -> None:
    many = 5 * MOST_BROUGHT
    scene = Scene(tmp_path, POLICY, config=Config(mode=Mode.ENFORCE))
    start = scene.clock.utcnow()
    with Ledger.open(scene.config.state_dir / LEDGER_FILE) as other:
        other.add_bans([ban(f"m{n}", f"10.0.{n >> 8}.{n & 255}", start=start) for n in range(many)])
    scene.restarts()
    scene.sensors.weather = flood({ATTACKER: 15_000.0})
    held, told = list[set[str]](), list[bool]()
    while len(scene.held()) < many + 1:
        scene.agent.tick()
        scene.clock.advance(0.05)
        held.append(scene.held())
        assert len(held) < 20
        told.append(any(one.code is Code.BANS_ON_THE_WAY for one in scene.agent.conditions.all))
    assert len(held[0]) <= MOST_BROUGHT
    assert told == [len(bans - {ATTACKER}) < many for bans in held]
    banned = next(bans for bans in held if ATTACKER in bans)
    assert len(banned) < many, "it does not wait for all those before it"


def test_many_bans_that_others_wipe_come_back_tick_by_tick_and_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = 5 * MOST_BROUGHT
    scene = Scene(tmp_path, POLICY, config=Config(mode=Mode.ENFORCE), plane=FakePlane(), glances=True)
    scene.fake.utcnow = scene.clock.utcnow
    start = scene.clock.utcnow()
    with Ledger.open(scene.config.state_dir / LEDGER_FILE) as other:
        other.add_bans([ban(f"m{n}", f"10.0.{n >> 8}.{n & 255}", start=start) for n in range(many)])
    scene.restarts()
    given_back = list[str]()
    monkeypatch.setattr("synguard.agent.enforcement.give_back", lambda: given_back.append("memory"))
    scene.lives(2.5)
    assert len(scene.held()) == many, "an agent that has bans to bring does not rest"
    assert given_back, "of 100,000 bans 8 MB"
    scene.fake.wipe()
    held = [0]
    while held[-1] < many:
        scene.agent.tick()
        scene.clock.advance(0.2)
        held.append(len(scene.held()))
        if held[-1]:
            scene.sensors.weather = flood({ATTACKER: 15_000.0})
        assert len(held) < 60
    assert max(after - before for before, after in pairwise(held)) <= MOST_BROUGHT + 1
    assert ATTACKER in scene.held()
    told = [one.text for one in scene.ledger.actions_since(start) if one.kind == "repair" and "bans gone" in one.text]
    assert [text.partition(" gone")[0] for text in told] == [f"{many} bans"]


def test_an_agent_with_a_long_list_to_take_over_does_not_rest(tmp_path: Path) -> None:
    scene, _ = watched(tmp_path)
    scene.lives(2.0)
    now = scene.clock.utcnow()
    with Ledger.open(scene.config.state_dir / LEDGER_FILE) as other:
        other.add_bans([ban(f"m{n}", f"10.0.{n >> 8}.{n & 255}", start=now) for n in range(4 * AT_ONCE)])
    scene.lives(2.5)
    assert len(scene.agent.by_hand) == 4 * AT_ONCE
