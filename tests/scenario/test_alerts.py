"""What an operator's phone shows: whole floods through the agent on a manual clock, and every message they make."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from synguard.agent.alerts import OFTEN, Alerts, alerting, served
from synguard.errors import PlaneError
from synguard.model import Mode
from synguard.notify.alert_policy import AlertPolicy, Memory
from synguard.notify.dispatcher import Dispatcher
from synguard.notify.message import About, Message
from synguard.notify.services import Service
from synguard.policy.models import Config, Notify
from synguard.status.conditions import Code
from synguard.status.model import FloodStatus, read_status
from tests.scenario.test_floods import ATTACKER, ENFORCE, POLICY, rain
from tests.support.fake_plane import FakePlane
from tests.support.mail_and_web import Web
from tests.support.scene import Scene


class Phone(Dispatcher):
    """Takes messages at once, and remembers as the real office does."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__([], state_dir)
        self.messages: list[Message] = []

    def enqueue(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def abouts(self) -> list[About]:
        return [message.about for message in self.messages]


def tell(scene: Scene, phone: Phone, **settings: object) -> Alerts:
    """Let the scene's agent send to the phone, knowing what an earlier agent told."""
    said = Notify.model_validate({"name": "web1", "quiet": "30s", **settings})
    alert_policy = AlertPolicy(said, phone.recall(), at=scene.clock.monotonic(), utc=scene.clock.utcnow())
    alerts = Alerts(alert_policy, phone)
    scene.agent.publisher.readers.append(alerts.read)
    scene.agent.observers.append(alerts.look)
    scene.agent.conditions.ask(Code.MESSAGES_FAILED, lambda: alerts.problem)
    return alerts


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path, POLICY, config=ENFORCE, plane=FakePlane())
    scene.fake.utcnow = scene.clock.utcnow
    return scene


@pytest.fixture
def phone(tmp_path: Path) -> Phone:
    return Phone(tmp_path)


def calm(scene: Scene, seconds: float) -> None:
    scene.weather.syn_pps = {}
    scene.weather.half_open = {}
    scene.weather.dropped_pps = 0.0
    scene.lasts(seconds, every=2.0)


def test_a_flood_is_one_message_at_its_start_and_one_at_its_end(scene: Scene, phone: Phone) -> None:
    tell(scene, phone)
    rain(scene, {ATTACKER: 10_000.0}, 10.0)
    calm(scene, 300)
    assert phone.abouts == [About.START, About.END]
    start, end = phone.messages
    assert start.title == "web1: SYN flood began"
    assert "1 ban, 0 spared" in start.lines
    assert start.attack is not None
    assert [port.partition(" ")[0] for port in start.attack.ports] == ["80"]
    assert start.lines[-1] == "look: synguard status"
    assert any("clients are turned away: a full queue drops 10000 SYN/s" in line for line in start.lines)
    assert end.title == "web1: SYN flood is over"
    assert end.attack is not None
    assert end.attack.ended_at is not None
    assert end.attack.bans >= 1


def test_the_port_of_a_flood_that_fills_no_queue_is_told(scene: Scene, phone: Phone) -> None:
    """Where the program answers within moments, the message of the start named no port."""
    tell(scene, phone)
    scene.weather.syn_pps, scene.weather.cookies_pps = {ATTACKER: 10_000.0}, 10_000.0
    scene.lasts(10)
    assert [
        message.attack and [port.partition(" ")[0] for port in message.attack.ports] for message in phone.messages
    ] == [["80"]]


@pytest.mark.parametrize(
    ("flood", "says"),
    [
        (FloodStatus(completed_pps=18), "clients are served: 18 handshakes/s complete, none is turned away"),
        (FloodStatus(), "no client is turned away, and none came in the last second"),
        (FloodStatus(dropped_pps=7, completed_pps=2), "clients are turned away: a full queue drops 7 SYN/s"),
        (FloodStatus(accept_overflows_pps=3), "clients wait: the application accepts too slowly (3/s are lost)"),
    ],
)
def test_whether_clients_are_served_is_said_as_it_is(flood: FloodStatus, says: str) -> None:
    assert served(flood).startswith(says)


def test_a_calm_day_says_nothing(scene: Scene, phone: Phone) -> None:
    tell(scene, phone)
    calm(scene, 600)
    assert phone.messages == []


def test_a_long_flood_is_told_again_now_and_then(scene: Scene, phone: Phone) -> None:
    tell(scene, phone, digest="1m")
    rain(scene, {ATTACKER: 10_000.0}, 10.0)
    scene.lasts(120, every=0.2)
    assert phone.abouts == [About.START, About.DIGEST, About.DIGEST]
    assert phone.messages[-1].title.startswith("web1: SYN flood goes on, 2m")


def trickle(scene: Scene, seconds: float) -> None:
    """Let 15 SYNs a second be turned away, the least that is an incident."""
    scene.weather.syn_pps = {"198.51.100.1": 15.0}
    scene.weather.half_open = {"198.51.100.1": 1}
    scene.weather.dropped_pps = 15.0
    scene.lasts(seconds, every=0.5)


def test_a_real_attack_inside_a_small_one_is_told(
    scene: Scene, phone: Phone, record_property: Callable[[str, object], None]
) -> None:
    """A few SYNs to a listener with a backlog of one kept an incident open for ever; the real one sent no message."""
    tell(scene, phone)
    trickle(scene, 60)
    rain(scene, {ATTACKER: 10_000.0}, 20.0)
    calm(scene, 300)
    assert phone.abouts == [About.START, About.GROWN, About.END]
    assert phone.messages[1].title == "web1: SYN flood has grown tenfold"
    record_property("now", "messages: " + ", ".join(phone.abouts))


def test_many_small_attacks_leave_room_to_tell_a_real_one(scene: Scene, phone: Phone) -> None:
    tell(scene, phone, per_hour=8)
    for _ in range(8):
        trickle(scene, 20)
        calm(scene, 120)
    assert len(phone.messages) <= 6
    told = len(phone.messages)
    rain(scene, {ATTACKER: 10_000.0}, 20.0)
    assert phone.abouts[told:] == [About.START]


def test_a_flood_that_comes_and_goes_is_one_attack(scene: Scene, phone: Phone) -> None:
    tell(scene, phone, quiet="5m")
    for _ in range(4):
        rain(scene, {ATTACKER: 10_000.0}, 10.0)
        calm(scene, 120)
    calm(scene, 400)
    assert phone.abouts == [About.START, About.END]
    assert phone.messages[-1].attack is not None
    assert phone.messages[-1].attack.incidents == 4
    assert any("it came 4 times" in line for line in phone.messages[-1].lines)


def test_a_dry_run_says_that_nothing_is_stopped(tmp_path: Path, phone: Phone) -> None:
    scene = Scene(tmp_path, POLICY, config=Config(mode=Mode.DRY_RUN))
    tell(scene, phone)
    rain(scene, {ATTACKER: 10_000.0}, 10.0)
    assert "1 dry-run ban (nothing is stopped), 0 spared" in phone.messages[0].lines
    assert any("synguard enable" in line for line in phone.messages[0].lines)


def test_a_restart_in_the_middle_tells_no_second_start(scene: Scene, phone: Phone) -> None:
    tell(scene, phone)
    rain(scene, {ATTACKER: 10_000.0}, 10.0)
    scene.restarts()
    tell(scene, phone)
    rain(scene, {ATTACKER: 10_000.0}, 10.0)
    calm(scene, 300)
    assert phone.abouts == [About.START, About.END]
    assert "the agent was restarted meanwhile" in phone.messages[-1].lines


def test_an_attack_that_ends_while_no_agent_runs_is_told_to_be_over(scene: Scene, phone: Phone) -> None:
    tell(scene, phone)
    rain(scene, {ATTACKER: 10_000.0}, 10.0)
    scene.restarts()
    tell(scene, phone)
    calm(scene, 300)
    assert phone.abouts == [About.START, About.END]


def test_a_restart_after_the_end_says_nothing_more(scene: Scene, phone: Phone) -> None:
    tell(scene, phone)
    rain(scene, {ATTACKER: 10_000.0}, 10.0)
    calm(scene, 300)
    scene.restarts()
    tell(scene, phone)
    calm(scene, 300)
    assert phone.abouts == [About.START, About.END]


def test_a_memory_that_cannot_be_read_is_none(phone: Phone, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert phone.recall() is None
    (tmp_path / "notify.json").write_text('{"sent": 7}')
    assert phone.recall() is None
    assert "may be reported again" in caplog.text


def test_a_memory_that_cannot_be_written_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    phone = Phone(tmp_path / "gone")
    phone.remember(Memory())
    phone.remember(Memory())
    assert len(caplog.records) == 1
    assert len(phone.problems) == 1
    (tmp_path / "gone").mkdir()
    phone.remember(Memory())
    assert phone.problems == ()


def test_unknown_protection_is_told_once_and_its_end_too(scene: Scene, phone: Phone) -> None:
    tell(scene, phone)
    scene.weather.problems = ("allow.txt cannot be read",)
    calm(scene, 300)
    scene.weather.problems = ()
    calm(scene, 300)
    assert phone.abouts == [About.SUSPENDED, About.OVER]
    assert phone.messages[0].title == "web1: automatic bans are suspended"
    assert "allow.txt cannot be read" in phone.messages[0].text


def test_a_plane_that_fails_is_told_once_and_not_as_ill_health_again(scene: Scene, phone: Phone) -> None:
    tell(scene, phone)
    scene.fake.fail_next("apply", *[PlaneError("adding to a set", "the kernel said no")] * 50)
    rain(scene, {ATTACKER: 10_000.0}, 10.0)
    scene.lasts(50, every=0.2)
    assert phone.abouts == [About.START, About.PLANE]
    assert phone.messages[1].title == "web1: bans do not reach the kernel"
    assert "adding to a set: the kernel said no" in phone.messages[1].lines


def test_a_sensor_that_is_blind_for_long_is_told_as_ill_health(scene: Scene, phone: Phone) -> None:
    tell(scene, phone)
    scene.weather.broken = frozenset({"counters"})
    calm(scene, 50)
    assert phone.messages == []
    calm(scene, 60)
    assert phone.abouts == [About.UNHEALTHY]
    assert "counters cannot be read" in phone.messages[0].text


def test_rules_that_are_taken_away_again_and_again_are_told_once(scene: Scene, phone: Phone) -> None:
    alerts = tell(scene, phone)
    assert alerts._repaired_often(OFTEN - 1, 0.0) is False
    assert alerts._repaired_often(OFTEN, 10.0) is True
    assert alerts._repaired_often(OFTEN, 5000.0) is False


def test_a_fault_in_what_is_told_stops_the_messages_and_nothing_else(
    scene: Scene, phone: Phone, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    alerts = tell(scene, phone)
    monkeypatch.setattr(AlertPolicy, "see", lambda *_: 1 / 0)
    rain(scene, {ATTACKER: 10_000.0}, 3.0)
    assert scene.held() == {ATTACKER}
    assert alerts.problem.startswith("messages have stopped: ZeroDivisionError")
    assert [one.message for one in caplog.records if one.message == alerts.problem] == [alerts.problem]


def test_what_the_config_names_is_told_by_a_process_that_really_sends(scene: Scene) -> None:
    with Web() as web:
        told = Notify.model_validate({"name": "web1", "urls": [web.url()]})
        with alerting(scene.agent, scene.config.model_copy(update={"notify": told}), scene.clock) as dispatcher:
            rain(scene, {ATTACKER: 10_000.0}, 10.0)
            give_up = time.monotonic() + 60
            while not web.bodies:
                assert time.monotonic() < give_up, dispatcher.problems
                time.sleep(0.05)
    assert [body["event"] for body in web.bodies] == ["start"]
    assert dispatcher.counts()[1:] == (1, 0, 0)


def test_a_file_of_services_that_cannot_be_used_is_told_and_protection_goes_on(
    scene: Scene, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = scene.config.model_copy(update={"notify": Notify(urls_file=tmp_path / "none")})
    with alerting(scene.agent, config, scene.clock) as dispatcher:
        rain(scene, {ATTACKER: 10_000.0}, 5.0)
    sentence = f"no messages are sent: {tmp_path}/none: cannot be read: No such file or directory"
    assert scene.held() == {ATTACKER}
    assert dispatcher.workers == ()
    assert [one.message for one in caplog.records if "messages" in one.message] == [sentence]
    told = read_status(scene.config.runtime_dir)
    assert told is not None
    assert told.notes == (sentence,)


@pytest.mark.parametrize(
    ("events", "abouts"),
    [
        (["incident"], [About.START, About.END]),
        (["incident", "digest"], [About.START, About.DIGEST, About.END]),
        (["digest", "plane"], []),
    ],
)
def test_the_config_says_what_is_told(scene: Scene, phone: Phone, events: list[str], abouts: list[About]) -> None:
    tell(scene, phone, digest="1m", events=events)
    rain(scene, {ATTACKER: 10_000.0}, 10.0)
    scene.lasts(60, every=0.2)
    calm(scene, 300)
    assert phone.abouts == abouts


def test_a_service_shows_no_more_of_its_url_than_its_host() -> None:
    assert repr(Service("https://x/y", 1)) == "Service('1 https://x/…')"
