"""What the operator sees of the fleet: every view of the peers, and in none of them a secret."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import psutil
import pytest

from synguard.agent.fleet import in_fleet
from synguard.agent.lock import AgentLock
from synguard.clock import SystemClock
from synguard.doctor.findings import Level
from synguard.doctor.fleet_checks import fleet_findings
from synguard.errors import ConfigError
from synguard.fleet.follower import HostView
from synguard.fleet.link import FollowerLink
from synguard.fleet.peer import MOST_SHOWN, PeerRecord
from synguard.fleet.secrets import API_KEY, CREDENTIALS, secret_from
from synguard.model import Mode
from synguard.notify.alert_policy import AlertPolicy, Seen
from synguard.notify.message import About
from synguard.policy.load import load_policies
from synguard.policy.models import Config, Notify
from synguard.status.model import PeerStatus, Status, write_status
from synguard.status.overview import overview, overview_lines
from tests.support.cli_host import CliHost
from tests.support.own_network import wait_until
from tests.support.scene import Scene
from tests.unit.test_fleet_hostile import HEAD, KEY, Server

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
PASSWORD = "passw0rd-that-nobody-may-see"
AWAY = PeerStatus(name="gobgp", place="gobgpd on this host", reachable=False, since=NOW, error="no gobgpd")
THERE = PeerStatus(
    name="crowdsec decisions", place="lapi:8080", reachable=True, since=NOW, counts={"left_out": 1_200}, notes=("n",)
)


@pytest.fixture
def echo() -> Iterator[Server]:
    """A local API that sends every secret back, in each place where an error could take it from."""

    def talk(there: Any) -> None:
        sent = PASSWORD if b"/login" in server.asked[-1] else KEY
        body = json.dumps({"message": f"{sent} is wrong"}).encode()
        there.sendall(
            b"HTTP/1.1 500 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (sent.encode(), len(body))
        )
        there.sendall(body)

    server = Server(talk)
    yield server
    server.close()


@contextmanager
def member(tmp_path: Path, **settings: object) -> Iterator[Scene]:
    """A host in a fleet, whose first tick is over."""
    config = Config.model_validate(settings)
    scene = Scene(tmp_path, *load_policies(config), config=config)
    with in_fleet(scene.agent, scene.config, SystemClock(), "web-1"):
        scene.lasts(1.0)
        yield scene
        scene.lasts(1.0)


def lasts_until(scene: Scene, condition: Callable[[], bool]) -> None:
    """Let the agent tick until something is so."""

    def so() -> bool:
        scene.lasts(1.2)
        return condition()

    wait_until(so)


def test_decisions_are_followed_with_whom_the_agent_cuts_off_never_and_by_its_translators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decision on the address of a container of this host cut it off, which no ban by hand does."""
    shown: list[HostView] = []
    monkeypatch.setattr(FollowerLink, "show", lambda _link, view, *_: shown.append(view))
    settings = {"url": "http://127.0.0.1:1", "api_key": KEY}
    with member(tmp_path, crowdsec=settings, pref64=["2001:db8:64::/96"]) as scene:
        scene.weather.protected = {"192.0.2.2/32": "resolver"}
        scene.weather.containers = {"172.17.0.5/32": "web on docker0"}
        scene.lasts(30)
    assert shown[-1].protected >= {ip_network("192.0.2.2/32"), ip_network("172.17.0.5/32")}
    assert shown[-1].embedding[-1] == ip_network("2001:db8:64::/96")


def secret(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text + "\n")
    path.chmod(mode)
    return str(path)


def test_no_secret_is_shown_anywhere_whatever_the_local_api_says(
    tmp_path: Path, echo: Server, host: CliHost, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    settings = {
        "url": echo.url,
        "api_key_file": secret(tmp_path / "key", KEY),
        "machine_id": "web-1",
        "password": PASSWORD,
    }
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with member(state, crowdsec=settings) as scene:
        agent = scene.agent
        agent.publisher.readers.append(lambda status: write_status(host.runtime, status))
        lasts_until(scene, lambda: caplog.text.count("answers 500") + caplog.text.count("log us in: 500") >= 1)
        lasts_until(scene, lambda: "crowdsec decisions" in caplog.text)
    host.configure("".join(f'crowdsec.{name} = "{value}"\n' for name, value in settings.items()))
    told = [caplog.text, (host.runtime / "status.json").read_text()]
    with AgentLock(host.runtime):
        told += [host.run(*verb.split()).out for verb in ("status", "status --json", "fleet", "fleet --json", "doctor")]
    told += [host.run(*verb.split()).out for verb in ("doctor --json", "report --json", "policy show", "policy check")]
    told += [
        repr(agent._running.config),
        str(agent._running.config.model_dump()),
        agent._running.config.model_dump_json(),
    ]
    assert all("answers 500: … is wrong" in text for text in (told[0], told[1], told[4], told[6]))
    for text in told:
        assert KEY not in text
        assert PASSWORD not in text


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    base = tmp_path / "host"
    base.mkdir()
    made = CliHost(base, monkeypatch)
    for directory in (made.state, made.runtime):
        directory.mkdir(mode=0o700)
    return made


@pytest.mark.parametrize(
    ("faulty", "why"),
    [
        ('api_key = "a\\nb"', "api_key: must be printable text"),
        (f'api_key = ["{KEY}"]', "api_key: must be printable text"),
        (f'api_key = "{KEY}"\nkey = "{KEY}"', "crowdsec.key"),
        (f'password = "{KEY}"', "machine_id and its password"),
        (f'api_key = "{KEY}"\napi_key_file = "x"', "exclude each other"),
        (f'machine_id = "{KEY}" # "', "belong together"),
    ],
)
def test_a_fault_of_the_config_names_the_key_and_no_secret(faulty: str, why: str, host: CliHost) -> None:
    host.configure(f'[crowdsec]\nurl = "http://127.0.0.1:8080"\n{faulty}\n')
    ran = host.run("bans")
    assert ran.code == 2
    assert why in ran.err
    assert f'"{KEY}"' not in ran.err


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        (KEY, 0o644, "others may read it"),
        (KEY, 0o640, "others may read it"),
        ("", 0o600, "one line"),
        (f"{KEY}\n{KEY}", 0o600, "one line"),
        (f"{KEY}\x00", 0o600, "one line"),
    ],
)
def test_a_file_that_holds_no_secret_or_no_secret_any_more_is_refused(
    text: str, mode: int, why: str, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    secret(path, text, mode)
    with pytest.raises(ConfigError, match=why) as caught:
        secret_from(None, path, API_KEY, {})
    assert KEY not in str(caught.value)


def test_a_credential_of_systemd_serves_where_no_file_is_named(tmp_path: Path) -> None:
    secret(tmp_path / API_KEY, KEY, 0o400)
    assert secret_from(None, None, API_KEY, {CREDENTIALS: str(tmp_path)}) == KEY
    assert secret_from(None, None, API_KEY, {}) is None
    named = Path(secret(tmp_path / "named", "another"))
    assert secret_from(None, named, API_KEY, {CREDENTIALS: str(tmp_path)}) == "another"


def test_a_secret_that_cannot_be_used_is_a_condition_and_the_agent_goes_on(tmp_path: Path, host: CliHost) -> None:
    path = secret(tmp_path / "key", KEY, 0o644)
    with member(tmp_path, crowdsec={"url": "http://127.0.0.1:9", "api_key_file": path}) as scene:
        agent = scene.agent
    [condition] = [one for one in agent.conditions.all if one.code == "fleet-failed"]
    assert "no part of the fleet" in condition.text
    assert "others may read it" in condition.text
    seen(host, conditions=agent.conditions.all)
    with AgentLock(host.runtime):
        ran = host.run("fleet")
    assert ran.code == 1
    assert ran.out == f"error: {condition.text}\n"


def test_a_local_api_that_says_nothing_does_not_hold_up_the_tick_or_the_end(tmp_path: Path) -> None:
    """What asks it waits, in a process of its own."""
    server = Server(lambda there: threading.Event().wait(30) and None)
    with member(tmp_path, crowdsec={"url": server.url, "api_key": KEY}) as scene:
        lasts_until(scene, lambda: bool(server.asked))
        assert len(scene.lasts(60.0)) > 100
    server.close()


def members() -> list[psutil.Process]:
    """Return the processes that a fleet has here; others of the tests may run beside them."""
    return [one for one in psutil.Process().children() if any("synguard.fleet" in word for word in one.cmdline())]


def test_what_follows_decisions_is_started_again_when_it_was_killed(tmp_path: Path) -> None:
    server = Server(lambda there: there.sendall(HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}"))
    with member(tmp_path, crowdsec={"url": server.url, "api_key": KEY}) as scene:
        lasts_until(scene, lambda: len(server.asked) == 1)
        [child] = members()
        child.kill()
        lasts_until(scene, lambda: len(server.asked) == 2)
    assert not members()
    server.close()


def seen(host: CliHost, **more: object) -> Status:
    whole = {
        "mode": Mode.ENFORCE, "plane": "x", "show_command": "y", "healthy": True, "pid": os.getpid(),
        "started_at": datetime.now(UTC), "last_reading_at": datetime.now(UTC), "policies": ("default",),
    }  # fmt: skip
    status = Status.model_validate(whole | more)
    write_status(host.runtime, status)
    return status


def test_the_verb_shows_each_peer_and_fails_where_one_is_away(host: CliHost) -> None:
    assert host.run("fleet").code == 1
    seen(host, peers=(THERE, AWAY))
    with AgentLock(host.runtime):
        ran = host.run("fleet")
        assert ran.code == 1
        assert "crowdsec decisions at lapi:8080: reachable for" in ran.out
        assert "left out 1,200" in ran.out
        assert "gobgp at gobgpd on this host: NOT REACHABLE for" in ran.out
        assert "error: no gobgpd" in ran.out
        assert [one["reachable"] for one in host.run("fleet", "--json").json] == [True, False]
        seen(host, peers=(THERE,))
        assert host.run("fleet").code == 0
        seen(host)
        assert "no peer is configured" in host.run("fleet").out


def test_status_has_a_line_for_each_peer(host: CliHost) -> None:
    status = seen(host, peers=(THERE, AWAY))
    shown = overview(True, status, Mode.ENFORCE, ("default",), 0, datetime.now(UTC))
    lines = overview_lines(shown)
    assert "peer crowdsec decisions at lapi:8080: reachable; left out 1,200" in lines
    assert "peer gobgp at gobgpd on this host: NOT REACHABLE" in lines
    assert overview(False, None, Mode.ENFORCE, (), 0, NOW)["peers"] == []


def test_a_dry_run_names_the_routes_that_would_be_announced_up_to_some_number() -> None:
    record = PeerRecord("gobgp", "here")
    record.would([f"route {n}" for n in range(MOST_SHOWN + 3)])
    assert record.state.notes[0] == f"dry-run: {MOST_SHOWN + 3} routes would be announced"
    assert record.state.notes[1:-1] == tuple(f"route {n}" for n in range(MOST_SHOWN))
    assert record.state.notes[-1] == "and 3 more"
    record.would([])
    assert record.state.notes == ("dry-run: 0 routes would be announced",)


def test_a_peer_that_is_away_for_minutes_is_a_message_and_so_is_its_end() -> None:
    policy = AlertPolicy(Notify(name="web-1"), at=0.0, utc=NOW)
    told = []
    for second in range(1200):
        states = {About.PEER: "crowdsec decisions: it does not answer"} if second < 600 else {}
        message = policy.see(Seen(at=float(second), utc=NOW + timedelta(seconds=second), states=states))
        told += [(second, message)] if message else []
    assert [at for at, _ in told] == [300, 660]
    assert told[0][1].title == "web-1: a peer of the fleet does not answer"
    assert "synguard fleet" in told[0][1].text


def found(peers: tuple[PeerStatus, ...] = (), **settings: object) -> dict[str, tuple[Level, str]]:
    return {one.name: (one.level, one.reason) for one in fleet_findings(Config.model_validate(settings), peers)}


def test_the_doctor_leaves_a_host_without_a_fleet_in_peace() -> None:
    assert found() == {}


def test_the_doctor_takes_the_word_of_a_running_agent() -> None:
    assert found((THERE, AWAY)) == {
        "crowdsec decisions": (Level.OK, "lapi:8080 answers; n"),
        "gobgp": (Level.WARN, "no gobgpd"),
    }


def test_the_doctor_asks_each_peer_where_no_agent_runs(tmp_path: Path, echo: Server) -> None:
    settings = {"url": echo.url, "api_key_file": secret(tmp_path / "key", KEY), "machine_id": "m", "password": PASSWORD}
    seen = found(crowdsec=settings)
    for name in ("crowdsec decisions", "crowdsec alerts"):
        assert seen[name][0] is Level.WARN
        assert "500: … is wrong" in seen[name][1]
    assert b"/v1/decisions/stream" not in b"".join(echo.asked), "the agent's stream would miss what it was told"


def test_the_doctor_names_what_is_wrong_with_the_config_of_a_fleet(tmp_path: Path, host: CliHost) -> None:
    others = secret(tmp_path / "key", KEY, 0o644)
    seen = found(crowdsec={"url": "http://192.0.2.9:8080", "api_key_file": others})
    assert "unencrypted" in seen["crowdsec"][1]
    seen = found(bgp={"speaker": "exabgp", "pipe": str(tmp_path / "exabgp.in"), "destinations": ["198.51.100.7"]})
    assert seen["bgp"] == (
        Level.WARN,
        "198.51.100.7/32: not an address of this host, and routes may be announced for it",
    )
    assert "mkfifo" in seen["exabgp"][1]
    levels = [
        one.level
        for one in fleet_findings(
            Config.model_validate({"crowdsec": {"url": "http://127.0.0.1:9", "api_key_file": others}})
        )
    ]
    assert levels[0] is Level.BAD
