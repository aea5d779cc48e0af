"""SYN cookies for the length of an incident: what the operator's value becomes, and what he is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from synguard.ledger import Ledger
from synguard.model import Mode
from synguard.operator.flush import put_back_left_over
from synguard.policy.models import Config, Countermeasure
from synguard.status.model import Status, read_status
from tests.scenario.test_floods import ENFORCE, POLICY, random_sources
from tests.support.scene import Scene, Weather

FORGED = random_sources(129)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A host with SYN cookies off."""
    return without_cookies(tmp_path)


def without_cookies(tmp_path: Path, config: Config = ENFORCE) -> Scene:
    scene = Scene(tmp_path, POLICY, config=config)
    scene.sysctl.cookies = 0
    scene.lasts(1)
    return scene


def flood(scene: Scene, seconds: float = 2.0, every: float | None = None) -> None:
    """Forged addresses from everywhere fill the queue; the kernel drops the rest or sends cookies, as it is set."""
    with_cookies = scene.sysctl.cookies > 0
    scene.weather.half_open = dict.fromkeys(FORGED, 1)
    scene.weather.cookies_pps = 10_000 if with_cookies else 0
    scene.weather.dropped_pps = 0 if with_cookies else 10_000
    scene.lasts(seconds, every)


def calm(scene: Scene, seconds: float = 60.0) -> None:
    scene.sensors.weather = Weather()
    scene.lasts(seconds, every=0.2)


def status(scene: Scene) -> Status:
    scene.lasts(1.1)  # it is written once a second
    found = read_status(scene.config.runtime_dir)
    assert found is not None
    return found


def actions(scene: Scene) -> list[str]:
    told = scene.ledger.actions_since(scene.clock.utcnow().replace(year=2025))
    return [action.text for action in reversed(told) if action.kind == "syn-cookies"]


def test_they_go_on_within_three_tenths_of_a_second_and_back_at_calm(scene: Scene) -> None:
    flood(scene, 0.3)
    assert scene.sysctl.cookies == 1
    flood(scene)
    [told] = status(scene).countermeasures
    assert (told.before, told.now, told.dry_run) == (0, 1, False)
    assert scene.banned() == set()
    calm(scene)
    assert scene.sysctl.cookies == 0
    assert scene.sysctl.tries == 2
    assert status(scene).countermeasures == ()
    assert actions(scene) == [
        "turned SYN cookies on: a SYN queue is full and turns clients away (net.ipv4.tcp_syncookies was 0)",
        "put net.ipv4.tcp_syncookies back to 0",
    ]


def test_the_incident_tells_the_whole_story(scene: Scene) -> None:
    flood(scene)
    calm(scene)
    [incident] = scene.ledger.incidents_since(scene.clock.utcnow().replace(year=2025))
    assert incident.ended_at is not None
    assert incident.note.startswith("spoofed: ")
    assert "; turned SYN cookies on at 20" in incident.note
    assert ", net.ipv4.tcp_syncookies was 0, back to 0 at 20" in incident.note
    flood(scene, 0.05)  # one look: nothing turned on yet, and nothing told of the time before
    [latest, _] = scene.ledger.incidents_since(scene.clock.utcnow().replace(year=2025))
    assert "cookies" not in latest.note


def test_they_stay_on_while_the_flood_pauses_shorter_than_calm_takes(scene: Scene) -> None:
    flood(scene)
    for _ in range(3):
        calm(scene, 20)
        assert scene.sysctl.cookies == 1
        flood(scene)
    assert scene.sysctl.tries == 1


@pytest.mark.parametrize("value", [1, 2])
def test_a_host_that_has_cookies_is_left_as_it_is(scene: Scene, value: int) -> None:
    scene.sysctl.cookies = value
    flood(scene)
    calm(scene)
    assert (scene.sysctl.cookies, scene.sysctl.tries) == (value, 0)
    assert actions(scene) == []


def test_a_slow_application_turns_nothing_on(scene: Scene) -> None:
    scene.weather.overflows_pps = 500
    scene.weather.accept_queue = 200
    scene.lasts(5)
    assert scene.sysctl.tries == 0


def test_never_means_never(tmp_path: Path) -> None:
    never = ENFORCE.model_copy(update={"countermeasure": Countermeasure(syn_cookies="never")})
    scene = without_cookies(tmp_path, never)
    flood(scene)
    assert scene.sysctl.tries == 0


def test_a_reload_to_never_puts_the_old_value_back_at_once(scene: Scene) -> None:
    flood(scene)
    never = scene.config.model_copy(update={"countermeasure": Countermeasure(syn_cookies="never")})
    scene.agent.reload(lambda: (never, scene.policies))
    scene.lives(1)
    assert scene.sysctl.cookies == 0


def test_a_dry_run_tells_what_it_would_do_and_touches_nothing(tmp_path: Path) -> None:
    scene = without_cookies(tmp_path, Config(mode=Mode.DRY_RUN))
    flood(scene)
    [told] = status(scene).countermeasures
    assert told.dry_run
    assert told.text.startswith("would turn SYN cookies on at ")
    calm(scene)
    assert scene.sysctl.tries == 0
    assert actions(scene) == [
        "would turn SYN cookies on: a SYN queue is full and turns clients away (net.ipv4.tcp_syncookies was 0)",
        "would put net.ipv4.tcp_syncookies back to 0",
    ]


def test_a_value_that_somebody_sets_meanwhile_wins(scene: Scene) -> None:
    flood(scene)
    scene.sysctl.cookies = 2
    flood(scene)
    assert status(scene).countermeasures == ()
    calm(scene)
    assert (scene.sysctl.cookies, scene.sysctl.tries) == (2, 1)
    assert actions(scene)[-1] == "leaving net.ipv4.tcp_syncookies at 2, which another program has set"


def test_who_turns_them_off_again_is_not_fought_in_this_incident_but_helped_in_the_next(scene: Scene) -> None:
    flood(scene)
    scene.sysctl.cookies = 0
    flood(scene, 10)
    assert (scene.sysctl.cookies, scene.sysctl.tries) == (0, 1)
    calm(scene)
    flood(scene)
    assert scene.sysctl.cookies == 1


def test_after_a_kill_the_next_agent_puts_the_old_value_back_at_calm(scene: Scene) -> None:
    flood(scene)
    scene.restarts()
    flood(scene, 10)
    assert scene.sysctl.cookies == 1
    assert status(scene).countermeasures[0].before == 0
    calm(scene)
    assert (scene.sysctl.cookies, scene.sysctl.tries) == (0, 2)


def test_a_kill_when_the_flood_is_over_leaves_nothing_on_for_long(scene: Scene) -> None:
    flood(scene)
    scene.sensors.weather = Weather()
    scene.restarts()
    scene.lasts(29, every=0.2)
    assert scene.sysctl.cookies == 1
    scene.lasts(2)
    assert scene.sysctl.cookies == 0


def test_a_kill_between_note_and_kernel_is_no_reason_to_hold_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(name: str, value: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(scene.sysctl, "write", die)
        with pytest.raises(KeyboardInterrupt):
            flood(scene)
    scene.restarts()
    assert scene.sysctl.tries == 0
    flood(scene)
    assert scene.sysctl.cookies == 1


def test_after_a_reboot_the_note_is_void(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    flood(scene)
    monkeypatch.setattr("synguard.enforcer.sysctl_note.SysctlNoteFile.read", lambda _: None)  # see test_cookie_note
    scene.sysctl.cookies, tries = 1, scene.sysctl.tries  # as /etc/sysctl.d has it now
    scene.restarts()
    calm(scene)
    assert (scene.sysctl.cookies, scene.sysctl.tries) == (1, tries)


def test_a_dry_run_leaves_what_a_killed_agent_left_to_flush(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    flood(scene)
    scene.config = scene.config.model_copy(update={"mode": Mode.DRY_RUN})
    scene.restarts()
    calm(scene)
    scene.agent.close()
    assert (scene.sysctl.cookies, scene.sysctl.tries) == (1, 1)
    assert "synguard flush puts the old value back" in caplog.text
    assert put_back_left_over(scene.config, scene.sysctl) == 0


def test_an_orderly_end_puts_the_old_value_back_in_the_midst_of_a_flood(scene: Scene) -> None:
    flood(scene)
    scene.agent.close()
    assert scene.sysctl.cookies == 0


def test_flush_puts_the_old_value_back_and_a_running_agent_takes_that_for_the_order_it_is(scene: Scene) -> None:
    flood(scene)
    assert put_back_left_over(scene.config, scene.sysctl) == 0
    assert scene.sysctl.cookies == 0
    flood(scene, 10)
    assert scene.sysctl.cookies == 0
    assert put_back_left_over(scene.config, scene.sysctl) is None


def test_flush_leaves_a_value_that_is_not_ours(scene: Scene) -> None:
    flood(scene)
    scene.sysctl.cookies = 2
    assert put_back_left_over(scene.config, scene.sysctl) is None
    assert scene.sysctl.cookies == 2


def test_a_kernel_that_refuses_is_told_once_and_not_stormed(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.sysctl.refusal = "/proc/sys is read-only here"
    flood(scene, 60, every=0.2)
    sentence = (
        "SYN cookies cannot be set for the incident: setting net.ipv4.tcp_syncookies to 1: /proc/sys is read-only here"
    )
    assert [record.message for record in caplog.records].count(sentence) == 1
    assert scene.sysctl.tries == 2
    assert sentence in status(scene).problems
    assert not list(scene.config.state_dir.glob("syn-cookies*"))
    scene.sysctl.refusal = ""
    flood(scene, 31, every=0.2)
    assert scene.sysctl.cookies == 1
    assert sentence not in status(scene).problems


def test_a_refusal_is_forgotten_at_calm(scene: Scene) -> None:
    scene.sysctl.refusal = "/proc/sys is read-only here"
    flood(scene)
    calm(scene)
    assert status(scene).problems == ()


def test_a_kernel_that_does_not_take_the_old_value_back_is_asked_again(scene: Scene) -> None:
    flood(scene)
    scene.sysctl.refusal = "not permitted"
    calm(scene)
    assert "not permitted" in status(scene).problems[0]
    scene.sysctl.refusal = ""
    scene.lasts(31, every=0.2)
    assert scene.sysctl.cookies == 0
    assert status(scene).problems == ()


def test_a_ledger_that_takes_no_entries_stops_neither_way(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from synguard.errors import LedgerError

    def full(self: Ledger, *_: object) -> None:
        raise LedgerError("ledger.db cannot be written: the disk is full")

    for method in ("record_verdicts", "save_incident", "record_action"):
        monkeypatch.setattr(Ledger, method, full)
    flood(scene)
    assert scene.sysctl.cookies == 1
    calm(scene)
    assert scene.sysctl.cookies == 0
