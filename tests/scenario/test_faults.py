"""What breaks under the agent, and what it does then: it goes on, says so, and makes good later."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from synguard.agent.lock import AgentLock
from synguard.errors import ChangedUnderneathError, ConfigError, LedgerError, PlaneError, SynguardError
from synguard.ledger import Ledger
from synguard.model import Action, Ban, Mode, Origin, Scope
from synguard.policy.models import Config, Limits
from synguard.status.model import Status, read_status
from tests.scenario.test_floods import ATTACKER, ENFORCE, POLICY, rain
from tests.support.fake_plane import FakePlane
from tests.support.scene import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path, POLICY, config=ENFORCE, plane=FakePlane())
    scene.fake.utcnow = scene.clock.utcnow
    return scene


def status(scene: Scene) -> Status:
    found = read_status(scene.config.runtime_dir)
    assert found is not None
    return found


def flood(scene: Scene, seconds: float = 1.0) -> None:
    rain(scene, {ATTACKER: 10_000.0}, seconds)


def test_a_plane_that_refuses_is_told_once_and_tried_again(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.fake.fail_next("apply", *[PlaneError("filling sets", "Hash is full") for _ in range(3)])
    flood(scene, 0.6)
    assert scene.held() == set()
    assert status(scene).problems == () or "filling sets: Hash is full" in status(scene).problems
    flood(scene, 10)
    assert scene.held() == {ATTACKER}
    assert [record.message for record in caplog.records].count("filling sets: Hash is full") == 1
    assert status(scene).problems == ()


def test_a_plane_that_stays_broken_is_not_hammered(scene: Scene) -> None:
    error = ChangedUnderneathError("committing the table", "Resource temporarily unavailable")
    scene.fake.fail_next("apply", *[error for _ in range(1000)])
    flood(scene, 60)
    assert scene.fake.calls.count("apply") < 10
    assert not status(scene).healthy


def test_a_ledger_that_cannot_be_written_does_not_stop_protection(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is often part of an attack; the kernel ends the bans by itself all the same."""

    def full(self: Ledger, *_: object) -> None:
        raise LedgerError("ledger.db cannot be written: the disk is full")

    with monkeypatch.context() as patch:
        for method in ("add_bans", "record_verdicts", "save_incident", "record_action", "record_hits"):
            patch.setattr(Ledger, method, full)
        flood(scene, 3)
        assert scene.held() == {ATTACKER}
        assert "ledger.db cannot be written: the disk is full" in status(scene).problems
    scene.weather.syn_pps = {"203.0.113.5": 10_000.0}
    scene.lasts(3)
    assert scene.banned() == {ATTACKER, "203.0.113.5"}  # what could not be written then is written now
    assert status(scene).problems == ()


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_clock_that_jumps_neither_ends_the_agent_nor_makes_bans_eternal(scene: Scene, jump: timedelta) -> None:
    flood(scene)
    scene.clock.jump(jump.total_seconds())
    flood(scene, 5)
    assert scene.held() == {ATTACKER}
    now = scene.clock.utcnow()
    kept, held = scene.ledger.active_bans(now), scene.fake.actual.bans
    assert max(ban.expires_at - now for ban in kept.values() if ban.expires_at) <= timedelta(minutes=5)
    assert max(one.expires_at - now for one in held.values() if one.expires_at) <= timedelta(minutes=5)
    scene.sensors.weather = type(scene.weather)()
    scene.lasts(300, every=1.0)
    assert scene.held() == set()


def test_a_clock_set_back_while_no_agent_ran_is_found_by_the_next_one(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """A ban of two minutes would else have stood for an hour and two, once the agent had put it back."""
    flood(scene)
    scene.sensors.weather = type(scene.weather)()
    scene.clock.jump(-3600)
    scene.restarts()
    scene.lasts(1)
    [held] = scene.fake.actual.bans.values()
    assert held.expires_at is not None
    left = held.expires_at - scene.clock.utcnow()
    assert timedelta(minutes=1) < left < timedelta(minutes=3)
    scene.restarts()
    scene.lasts(1)
    again = scene.fake.actual.bans[held.ban_id]
    assert again.expires_at == held.expires_at, "shortened once, and not prolonged by every start"
    told = "the clock was set back: automatic bans end no later than meant (1 changed)"
    assert sum(told in one.message for one in caplog.records) == 1


def test_a_clock_set_back_leaves_a_persons_order_and_says_so_to_nobody_who_has_no_bans(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    from ipaddress import ip_network

    now = scene.clock.utcnow()
    until = now + timedelta(hours=1)
    order = Ban("m1", ip_network("203.0.113.0/24"), Scope.ALL, Action.DROP, Origin.MANUAL, "manual", "", now, until)
    scene.ledger.add_bans([order])
    scene.lasts(1)
    scene.clock.jump(-3600)
    scene.lasts(1)
    [held] = scene.ledger.active_bans(scene.clock.utcnow()).values()
    assert held.expires_at == until
    assert not any("the clock" in one.message for one in caplog.records)


def test_what_others_wipe_is_put_back_and_told(scene: Scene) -> None:
    flood(scene)
    scene.fake.wipe()
    flood(scene, 6)
    assert scene.held() == {ATTACKER}
    told = scene.ledger.actions_since(scene.clock.utcnow().replace(year=2025))
    assert any(action.kind == "repair" for action in told)


def test_what_others_wipe_at_once_is_one_repair_however_many_sentences_tell_of_it(scene: Scene) -> None:
    """One reload of a firewall was reported as: our rules were removed 3 times within an hour."""
    flood(scene)
    scene.fake.wipe()
    flood(scene, 6)
    told = [one for one in scene.ledger.actions_since(scene.clock.utcnow().replace(year=2025)) if one.kind == "repair"]
    status = read_status(scene.config.runtime_dir)
    assert status is not None
    assert (len(told) > 1, status.totals.repairs) == (True, 1)


def test_a_manual_ban_made_by_another_process_is_kept(scene: Scene) -> None:
    from ipaddress import ip_network

    from synguard.ledger import LEDGER_FILE

    now = scene.clock.utcnow()
    with Ledger.open(scene.config.state_dir / LEDGER_FILE) as other:
        other.add_bans(
            [
                Ban(
                    "m1", ip_network("203.0.113.0/24"), Scope.ALL, Action.DROP, Origin.MANUAL, "manual", "by hand",
                    now, now + timedelta(hours=1),
                )
            ]
        )  # fmt: skip
    scene.lasts(1)
    assert scene.held() == {"203.0.113.0/24"}
    scene.lasts(3590, every=10.0)
    assert scene.held() == {"203.0.113.0/24"}
    scene.lasts(20, every=1.0)
    assert scene.held() == set()


def test_a_bad_reload_keeps_the_running_policy_and_says_so(scene: Scene) -> None:
    def bad() -> tuple[Config, tuple[()]]:
        raise ConfigError("rules/web.toml: policy[0].limits.half_open: must be greater than 0")

    scene.agent.reload(bad)
    scene.lives(2)
    assert "the new configuration was refused and the running one kept: rules/web.toml" in status(scene).problems[0]
    flood(scene)
    assert scene.banned() == {ATTACKER}


def test_a_good_reload_takes_effect_and_forgets_nobody_proven(scene: Scene) -> None:
    scene.weather.connections = {"192.0.2.9": 2}
    scene.lasts(2)
    lenient = POLICY.model_copy(update={"limits": Limits(half_open=100_000), "prefix_limits": Limits()})
    scene.agent.reload(lambda: (scene.config.model_copy(update={"mode": Mode.DRY_RUN}), (lenient,)))
    scene.lives(2)
    flood(scene, 3)
    assert scene.banned() == set()
    scene.agent.reload(lambda: (scene.config, (POLICY,)))
    scene.lives(1)
    rain(scene, {ATTACKER: 10_000.0, "192.0.2.9": 10_000.0}, 2.0)
    assert scene.banned() == {ATTACKER}  # still enforcing: the mode is fixed until the next start
    assert scene.held() == {ATTACKER}


def test_an_incident_that_a_killed_agent_left_open_is_closed_by_the_next(scene: Scene) -> None:
    flood(scene)
    scene.sensors.weather = type(scene.weather)()
    scene.restarts()
    scene.lasts(1)
    [incident] = scene.ledger.incidents_since(scene.clock.utcnow().replace(year=2025))
    assert incident.ended_at is not None


def test_a_second_agent_is_refused_and_the_lock_goes_with_its_holder(tmp_path: Path) -> None:
    with AgentLock(tmp_path), pytest.raises(SynguardError, match=r"another synguard agent runs .* stop it first"):
        AgentLock(tmp_path)
    with AgentLock(tmp_path):
        pass


@pytest.mark.parametrize("others", [10, 5000])
def test_thousands_of_offenders_in_one_tick_stay_within_the_budget_and_the_log(
    scene: Scene, caplog: pytest.LogCaptureFixture, others: int
) -> None:
    from synguard.detector.counting import MOST_REPORTED

    loud: Callable[[int], str] = lambda i: f"{1 + i % 200}.{i // 200 % 250}.{i // 7 % 250}.{i % 250}"  # noqa: E731
    rain(scene, {loud(i): 300.0 for i in range(others)}, 0.7)
    assert len(scene.banned()) <= min(others, 600)
    assert len(caplog.records) < 20
    assert len(scene.agent.tick().decision.verdicts) <= 2 * MOST_REPORTED


def test_a_ledger_that_failed_to_note_hits_is_well_again_once_it_notes_them(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The problem used to stay in the status until the next ban, which may be days away."""

    def full(self: Ledger, *_: object) -> None:
        raise LedgerError("ledger.db cannot be written: the disk is full")

    flood(scene)
    [ban] = scene.fake.actual.bans
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record_hits", full)
        scene.fake.count(ban, 10)
        flood(scene, 12)
        assert "ledger.db cannot be written: the disk is full" in status(scene).problems
    scene.fake.count(ban, 20)
    flood(scene, 12)
    assert status(scene).problems == ()


def test_who_looks_on_is_told_of_every_tick_and_of_each_status_that_is_published(scene: Scene) -> None:
    ticks: list[float] = []
    told: list[Status] = []
    scene.agent.observers.append(lambda tick, now, utc: ticks.append(now))
    scene.agent.publisher.readers.append(told.append)
    flood(scene, 3)
    assert len(ticks) > len(told) > 1
    assert ticks == sorted(ticks)
    assert told[-1] == status(scene)
