"""From dry-run to enforcing and back, without a restart: the whole agent on a manual clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from synguard.errors import LedgerError, PlaneError, PlaneUnavailableError
from synguard.ledger import LEDGER_FILE, Ledger
from synguard.model import Action, Ban, Mode, Origin, Scope
from synguard.operator.enablement import Enablement, EnablementFile
from synguard.operator.panic import Panic, PanicFile
from synguard.policy.models import Config
from synguard.status.conditions import Code
from synguard.status.model import Status, read_status
from tests.scenario.test_floods import ATTACKER, POLICY, rain
from tests.support.fake_plane import EMPTY, FakePlane
from tests.support.scene import BOOT, Scene

OTHER = "203.0.113.5"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path, POLICY, config=Config(), plane=FakePlane(), follows=True)
    scene.fake.utcnow = scene.clock.utcnow
    scene.lasts(1)
    return scene


def orders(scene: Scene) -> EnablementFile:
    return EnablementFile(scene.config.state_dir)


def enable(scene: Scene, within_s: float | None = None, boot: str = BOOT) -> Enablement:
    now = scene.clock.utcnow()
    order = Enablement(
        boot=boot,
        since=now,
        since_s=1.0,
        until=None if within_s is None else now + timedelta(seconds=within_s),
        until_s=None if within_s is None else scene.clock.monotonic() + within_s,
    )
    orders(scene).write(order)
    return order


def confirm(scene: Scene) -> None:
    order = orders(scene).read()
    assert order is not None
    orders(scene).write(order.model_copy(update={"confirmed_at": scene.clock.utcnow()}))


def flood(scene: Scene, seconds: float) -> None:
    rain(scene, {ATTACKER: 10_000.0}, seconds)


def status(scene: Scene) -> Status:
    found = read_status(scene.config.runtime_dir)
    assert found is not None
    return found


def told(scene: Scene) -> list[str]:
    return [one.text for one in scene.ledger.actions_since(datetime(2025, 1, 1, tzinfo=scene.clock.utcnow().tzinfo))]


def by_hand(scene: Scene) -> None:
    now = scene.clock.utcnow()
    ban = Ban(
        "m1", ip_network("192.0.2.128/25"), Scope.ALL, Action.DROP, Origin.MANUAL, "manual", "by hand",
        now, now + timedelta(hours=1),
    )  # fmt: skip
    with Ledger.open(scene.config.state_dir / LEDGER_FILE) as other:
        other.add_bans([ban])


def test_a_trial_that_nobody_confirms_ends_and_takes_everything_back(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    flood(scene, 2)
    assert scene.fake.calls == []  # dry-run
    enable(scene, 60)
    flood(scene, 5)
    assert scene.held() == {ATTACKER}
    assert status(scene).mode is Mode.ENFORCE
    assert status(scene).mode_by == "order"
    assert status(scene).mode_story.startswith("on trial until 2026-03-01 12:01:03 UTC")
    assert status(scene).confirm_by is not None
    flood(scene, 60)
    assert status(scene).mode is Mode.DRY_RUN
    assert scene.fake.actual.bans == EMPTY.bans
    assert not scene.fake.actual.intact  # no chain, no set: nothing of ours at all
    line = "back in dry-run: enforcement was not confirmed by 2026-03-01 12:01:03 UTC; none of its bans is active"
    assert [one.message for one in caplog.records].count(line) == 1
    assert line in told(scene)
    assert status(scene).mode_story == line
    real = [one for one in scene.ledger.bans_of(ip_network(ATTACKER)) if not one.ban.dry_run]
    assert real
    assert not any(one.stands(scene.clock.utcnow()) for one in real)
    calls = list(scene.fake.calls)
    flood(scene, 30)
    assert scene.fake.calls == calls  # the kernel is not touched again
    assert scene.agent.mode is Mode.DRY_RUN


def test_no_ban_of_a_trial_outlasts_it_so_that_the_kernel_ends_them_were_the_agent_killed(scene: Scene) -> None:
    order = enable(scene, 30)
    assert order.until is not None
    flood(scene, 29.5)
    real = [one.ban for one in scene.ledger.bans_of(ip_network(ATTACKER)) if not one.ban.dry_run]
    assert real
    assert len(real) < 5  # renewing them for no longer would be one more ban in every tick
    latest = max(ban.expires_at for ban in real if ban.expires_at)
    assert latest <= order.until + timedelta(seconds=1)


def test_a_trial_that_is_confirmed_goes_on_and_its_bans_are_renewed_for_as_long_as_ever(scene: Scene) -> None:
    enable(scene, 30)
    flood(scene, 10)
    confirm(scene)
    flood(scene, 60)
    assert status(scene).mode is Mode.ENFORCE
    assert scene.held() == {ATTACKER}
    assert status(scene).confirm_by is None
    [held] = scene.fake.actual.bans.values()
    assert held.expires_at is not None
    assert held.expires_at > scene.clock.utcnow() + timedelta(seconds=30)


def test_a_person_s_bans_and_those_from_before_stand_on(scene: Scene) -> None:
    by_hand(scene)
    enable(scene, 20)
    flood(scene, 5)
    assert scene.held() == {ATTACKER, "192.0.2.128/25"}
    flood(scene, 20)
    assert scene.held() == {"192.0.2.128/25"}
    assert scene.fake.actual.intact
    assert status(scene).mode is Mode.DRY_RUN


def test_what_a_dry_run_would_have_banned_is_over_when_enforcement_begins(scene: Scene) -> None:
    flood(scene, 5)
    with Ledger.open(scene.config.state_dir / LEDGER_FILE) as ledger:
        assert ledger.active_bans(scene.clock.utcnow(), dry_run=True)
    enable(scene)
    flood(scene, 5)
    with Ledger.open(scene.config.state_dir / LEDGER_FILE) as ledger:
        now = scene.clock.utcnow()
        assert ledger.active_bans(now, dry_run=True) == {}
        ended = {one.ended_why for one in ledger.bans_since(now - timedelta(hours=1)) if one.ban.dry_run}
    assert ended == {"dry-run is over"}
    assert scene.held() == {ATTACKER}


def test_switching_off_takes_back_what_was_banned_meanwhile(scene: Scene) -> None:
    enable(scene)
    flood(scene, 5)
    assert scene.held() == {ATTACKER}
    orders(scene).remove()
    flood(scene, 3)
    assert scene.held() == set()
    assert status(scene).mode is Mode.DRY_RUN
    assert "enforcement was disabled" in status(scene).mode_story


def test_who_is_proven_stays_proven_and_a_dry_run_makes_nobody_a_repeater(scene: Scene) -> None:
    scene.weather.connections = {"192.0.2.9": 2}
    scene.lasts(2)
    flood(scene, 5)
    enable(scene)
    rain(scene, {ATTACKER: 10_000.0, "192.0.2.9": 10_000.0}, 5.0)
    assert scene.held() == {ATTACKER}
    [ban] = [one.ban for one in scene.ledger.bans_of(ip_network(ATTACKER)) if not one.ban.dry_run]
    assert ban.times == 1


def test_a_trial_outlives_a_restart_of_the_agent_but_not_its_end(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    enable(scene, 60)
    flood(scene, 5)
    scene.restarts()
    assert scene.agent.mode is Mode.ENFORCE
    assert scene.held() == {ATTACKER}
    scene.sensors.close()
    scene.clock.advance(70)  # nobody runs while it ends
    scene.fake.actual = EMPTY  # the kernel ended the bans by itself
    scene.restarts()
    assert scene.agent.mode is Mode.DRY_RUN
    scene.lasts(2)
    assert scene.held() == set()
    assert "in dry-run: enforcement was not confirmed by 2026-03-01 12:01:01 UTC" in caplog.messages
    assert "enforcement was not confirmed" in status(scene).mode_story


def test_after_a_reboot_a_trial_is_over_and_a_confirmed_order_is_not(scene: Scene) -> None:
    enable(scene, 3600, boot="the boot before")
    scene.restarts()
    assert scene.agent.mode is Mode.DRY_RUN
    confirm(scene)
    scene.restarts()
    assert scene.agent.mode is Mode.ENFORCE


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)])
def test_setting_the_clock_neither_shortens_a_trial_nor_draws_it_out(scene: Scene, jump: timedelta) -> None:
    enable(scene, 30)
    flood(scene, 5)
    scene.clock.jump(jump.total_seconds())
    flood(scene, 15)
    assert scene.agent.mode is Mode.ENFORCE
    flood(scene, 15)
    assert scene.agent.mode is Mode.DRY_RUN
    assert scene.held() == set()


def test_a_plane_that_does_not_work_leaves_the_agent_in_dry_run_and_says_so(scene: Scene) -> None:
    def refuse(mode: Mode) -> None:
        raise PlaneUnavailableError("choosing a plane", "this host has neither")

    make = scene.agent._mode_controller._make  # a host that changes under the agent
    scene.agent._mode_controller._make = refuse  # type: ignore[assignment]
    enable(scene)
    flood(scene, 3)
    assert scene.agent.mode is Mode.DRY_RUN
    assert any("this host has neither" in problem for problem in status(scene).problems)
    scene.agent._mode_controller._make = make
    flood(scene, 10)
    assert scene.held() == {ATTACKER}
    assert status(scene).problems == ()


def test_what_cannot_be_taken_back_at_once_is_taken_back_later(scene: Scene) -> None:
    enable(scene, 20)
    flood(scene, 18)
    scene.fake.fail_next("flush", *[PlaneError("removing chains", "Device or resource busy") for _ in range(2)])
    flood(scene, 3.5)
    assert scene.agent.mode is Mode.DRY_RUN
    assert any("cannot be removed from the kernel" in problem for problem in status(scene).problems)
    flood(scene, 15)
    assert scene.held() == set()
    assert not scene.fake.actual.intact
    assert status(scene).problems == ()


def test_a_full_disk_does_not_keep_a_trial_from_ending(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Ledger, *_: object, **__: object) -> None:
        raise LedgerError("ledger.db cannot be used: the disk is full")

    enable(scene, 20)
    flood(scene, 5)
    with monkeypatch.context() as patch:
        for method in ("end_bans", "add_bans", "active_bans", "offences", "record_action"):
            patch.setattr(Ledger, method, full)
        flood(scene, 20)
        assert scene.agent.mode is Mode.DRY_RUN
    flood(scene, 10)
    assert scene.held() == set()


def test_a_damaged_order_is_no_licence_to_enforce_and_is_a_problem(scene: Scene) -> None:
    orders(scene).path.write_text("{]")
    flood(scene, 3)
    assert scene.agent.mode is Mode.DRY_RUN
    assert any("cannot be read" in problem for problem in status(scene).problems)


def test_a_reload_neither_ends_nor_forgets_the_order(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    enable(scene)
    flood(scene, 2)
    scene.agent.reload(lambda: (scene.config, (POLICY,)))
    scene.lives(2)
    assert scene.agent.mode is Mode.ENFORCE
    assert not any("takes effect at the next start" in message for message in caplog.messages)


def test_panic_outranks_what_was_enabled_and_stands_over_a_restart_until_it_is_over(scene: Scene) -> None:
    by_hand(scene)
    enable(scene, None)
    flood(scene, 5)
    assert scene.held() == {ATTACKER, "192.0.2.128/25"}
    order = PanicFile(scene.config.state_dir)
    order.write(Panic(since=scene.clock.utcnow()))
    flood(scene, 2)
    assert (status(scene).mode, status(scene).mode_by) == (Mode.DRY_RUN, "panic")
    assert [one.code for one in status(scene).conditions if one.code is Code.PANIC] == [Code.PANIC]
    assert ATTACKER not in scene.held()
    scene.restarts()
    flood(scene, 3)
    assert status(scene).mode is Mode.DRY_RUN
    assert ATTACKER not in scene.held()
    order.remove()
    flood(scene, 5)
    assert (status(scene).mode, status(scene).mode_by) == (Mode.ENFORCE, "order")
    assert ATTACKER in scene.held()
    assert all(one.code is not Code.PANIC for one in status(scene).conditions)


def test_a_panic_that_cannot_be_read_stands(scene: Scene) -> None:
    (scene.config.state_dir / "panic.json").write_text("{")
    enable(scene, None)
    flood(scene, 5)
    assert status(scene).mode_by == "panic"
    assert "since an unknown time" in status(scene).mode_story
    assert scene.held() == set()
