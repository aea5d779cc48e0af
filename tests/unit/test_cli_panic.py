"""`synguard panic`: one command that stops everything, with a running, a dead and a hung agent, and stays."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest

from synguard.addresses import parse_network
from synguard.agent.lock import AgentLock
from synguard.enforcer.locks import APPLY_LOCK, exclusive
from synguard.errors import LedgerError, PlaneError
from synguard.fleet.orders import Blackholes
from synguard.model import Mode
from synguard.operator.login import login_here
from synguard.operator.panic import Panic, PanicFile
from synguard.private import private_directory
from synguard.status.agent_commands import AgentPlaces, agent_pid, commands_for, start_command
from synguard.status.freshness import AGENT_LOCK
from synguard.status.model import Status, write_status
from tests.support.cli_host import CliHost

HOLD = """
import fcntl, os, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
file.write(str(os.getpid())); file.flush()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliHost:
    host = CliHost(tmp_path, monkeypatch)
    host.state.mkdir(mode=0o700)
    host.runtime.mkdir(mode=0o700)
    monkeypatch.setattr("synguard.enforcer.flush.flush_kernel", host.plane.flush)
    monkeypatch.setattr("synguard.cli.panic.put_back_all", lambda *_: None)
    return host


@pytest.fixture
def hung(host: CliHost) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the agent's lock and does nothing."""
    words = [sys.executable, "-c", HOLD, str(host.runtime / AGENT_LOCK)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def tell(host: CliHost, mode_by: str, pid: int, mode: Mode = Mode.DRY_RUN) -> None:
    now = datetime.now(UTC)
    write_status(
        host.runtime,
        Status(
            mode=mode, mode_by=mode_by, plane="dry-run", show_command="true", healthy=True, pid=pid,
            started_at=now, last_reading_at=now, policies=("web",),
        ),
    )  # fmt: skip


def test_the_kernel_is_emptied_while_no_other_process_fills_it_but_without_waiting_for_ever(
    host: CliHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, emptied = host.runtime / APPLY_LOCK, list[str]()

    def flushed() -> None:
        with suppress(PlaneError), exclusive(lock, 0, "it"):
            emptied.append("anybody may fill it")
        host.plane.flush()
        emptied.append("emptied")

    monkeypatch.setattr("synguard.enforcer.flush.flush_kernel", flushed)
    assert host.run("panic", "--yes").code == 0
    monkeypatch.setattr("synguard.cli.panic.LOCK_S", 0.05)
    with exclusive(lock, 0, "another process that hangs"):
        assert host.run("panic", "--yes").code == 0
    assert emptied == ["emptied", "emptied"]


def test_everything_is_taken_back_and_it_stands(host: CliHost) -> None:
    host.run("ban", "203.0.113.7")
    Blackholes(host.state).order(parse_network("192.0.2.2"), datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC))
    told = host.run("panic", "--yes")
    assert told.code == 0
    assert told.out.splitlines() == [
        "nothing is enforced now, and nothing of synguard is in the kernel; no agent runs",
        "bans removed: 1, and not put back; to enforce again: synguard panic --over",
    ]
    assert (host.active_bans(), host.held()) == (set(), set())
    assert Blackholes(host.state).active(datetime.now(UTC)) == {}
    refused = host.run("ban", "203.0.113.7")
    assert (refused.code, "end it: synguard panic --over" in refused.err) == (3, True)
    assert host.run("ban", "203.0.113.7", "--dry-run").code == 0
    assert host.run("enable", "--yes").code == 3
    over = host.run("panic", "--over")
    assert over.out.startswith("the panic is over: the config says dry-run; no agent runs; start it: ")
    assert host.run("ban", "203.0.113.7").code == 0
    assert "there was no panic" in host.run("panic", "--over").out


def test_it_asks_first_and_nothing_happens_where_nobody_can_be_asked(host: CliHost) -> None:
    host.run("ban", "203.0.113.7")
    assert host.run("panic").code == 2
    assert PanicFile(host.state).read() is None
    assert host.active_bans() == {"203.0.113.7/32"}


def test_the_mode_after_a_panic_is_that_of_the_agent(host: CliHost) -> None:
    """It said: the config says dry-run. An option of `synguard run` says otherwise, and the agent enforced."""
    PanicFile(host.state).write(Panic(since=datetime.now(UTC), by=login_here()))
    with AgentLock(host.runtime):
        tell(host, "option", os.getpid(), Mode.ENFORCE)
        over = host.run("panic", "--over")
    assert over.out == "the panic is over: the agent runs in mode enforce, by an option of synguard run\n"


def test_an_agent_that_follows_goes_on(host: CliHost) -> None:
    with AgentLock(host.runtime):
        pid = agent_pid(host.runtime)
        assert pid is not None

        def follow() -> None:
            while PanicFile(host.state).read() is None:
                time.sleep(0.01)
            tell(host, "panic", pid)

        thread = threading.Thread(target=follow)
        thread.start()
        told = host.run("panic", "--yes", "--json")
        thread.join()
    assert told.json == {"stopped": True, "agent": "follows", "lifted": 0, "problems": []}


def test_an_agent_that_cannot_be_told_is_not_waited_for(
    host: CliHost, hung: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk panic waited twenty seconds for an agent that had got no order, and said: it did not react."""
    monkeypatch.setattr("synguard.cli.panic.running_status", Mock(side_effect=AssertionError("it waits")))
    monkeypatch.setattr(PanicFile, "write", Mock(side_effect=LedgerError("panic.json: No space left on device")))
    told = host.run("panic", "--yes")
    assert (told.code, hung.wait(10)) == (1, -signal.SIGKILL)
    assert "the agent cannot be told, and was killed" in told.out
    assert "an agent that is started enforces again" in told.err


def test_a_disk_without_room_takes_the_order_all_the_same(host: CliHost) -> None:
    """With a full disk the order was lost: whatever started the agent anew had it enforce again."""
    private_directory(host.state, "state_dir")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        PanicFile(host.state).write(Panic(since=datetime.now(UTC), by=login_here()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert PanicFile(host.state).read() == Panic()
    assert host.run("ban", "203.0.113.7").code == 3
    assert "the panic is over" in host.run("panic", "--over").out


def test_a_hung_agent_is_killed(host: CliHost, hung: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synguard.cli.panic.PATIENCE_S", 0.2)
    tell(host, "config", hung.pid)
    assert host.run("panic", "--yes", "--json").json["agent"] == "killed"
    assert hung.wait(5) == -signal.SIGKILL


def test_an_agent_that_still_works_is_waited_for(
    host: CliHost, hung: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synguard.cli.panic.PATIENCE_S", 0.3)

    def work() -> None:
        for _ in range(8):
            tell(host, "config", hung.pid)
            time.sleep(0.1)
        tell(host, "panic", hung.pid)

    thread = threading.Thread(target=work)
    thread.start()
    assert host.run("panic", "--yes", "--json").json["agent"] == "follows"
    thread.join()


def test_what_one_step_meets_keeps_no_other_from_being_taken(host: CliHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.run("ban", "203.0.113.7")
    ledger = host.state / "ledger.db"
    ledger.write_bytes(b"no database at all" * 100)
    told = host.run("panic", "--yes")
    assert told.code == 1
    assert str(ledger) in told.err
    assert host.held() == set()
    assert PanicFile(host.state).read() is not None


@pytest.mark.parametrize("fault", ["mode = ", "no_such_key = 1", 'mode = "enforce'])
def test_a_config_with_faults_is_no_obstacle(host: CliHost, fault: str) -> None:
    """With directories of its own in that file, panic stopped nothing, and said that no agent runs."""
    host.run("ban", "203.0.113.7")
    host.configure(fault)
    told = host.run("panic", "--yes")
    assert (told.code, "going on with defaults" in told.err) == (0, True)
    assert (host.held(), PanicFile(host.state).read() is not None) == (set(), True)
    assert "bans removed: 1" in told.out


def test_the_agent_is_shown_although_the_config_has_faults(host: CliHost) -> None:
    """A mistyped line took the sight of a running agent away, in the midst of a flood."""
    host.configure("mode = ")
    with AgentLock(host.runtime):
        tell(host, "config", os.getpid(), Mode.ENFORCE)
        told = host.run("status")
    assert (told.code, "going on with defaults" in told.err) == (0, True)
    assert told.out.startswith(f"running (pid {os.getpid()}), healthy, mode enforce")


@pytest.mark.parametrize("text", ["{", "", '{"since": 3'])
def test_an_order_that_cannot_be_read_stands(tmp_path: Path, text: str) -> None:
    (tmp_path / "panic.json").write_text(text)
    assert PanicFile(tmp_path).read() == Panic()


# --- the commands for this agent ----------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path: Path) -> AgentPlaces:
    systemd = tmp_path / "systemd"
    systemd.mkdir()
    return AgentPlaces(proc=tmp_path / "proc", systemd=systemd, units=(tmp_path / "units",))


def runs_in(places: AgentPlaces, pid: int, cgroup: str) -> None:
    (places.proc / str(pid)).mkdir(parents=True)
    (places.proc / str(pid) / "cgroup").write_text(cgroup)


@pytest.mark.parametrize(
    ("cgroup", "restart"),
    [
        ("0::/system.slice/synguard.service\n", "systemctl restart synguard"),
        ("0::/system.slice/synguard-eu.service\n", "systemctl restart synguard-eu"),
        ("0::/user.slice/user-0.slice/session-3.scope\n", "kill {pid}, then synguard run"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/term.scope\n", "kill {pid}, then synguard run"),
        ("0::/\n", "kill {pid}, then synguard run"),
        ("12:pids:/system.slice/synguard.service\n0::/system.slice/synguard.service\n", "systemctl restart synguard"),
    ],
)
def test_an_agent_is_restarted_as_it_was_started(
    host: CliHost, places: AgentPlaces, monkeypatch: pytest.MonkeyPatch, cgroup: str, restart: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/synguard", "status"])
    with AgentLock(host.runtime):
        pid = agent_pid(host.runtime)
        assert pid is not None
        runs_in(places, pid, cgroup)
        assert commands_for(host.runtime, places).restart == restart.format(pid=pid)


def test_without_systemd_a_unit_is_nothing_to_be_called(host: CliHost, places: AgentPlaces) -> None:
    places.systemd.rmdir()
    with AgentLock(host.runtime):
        pid = agent_pid(host.runtime)
        assert pid is not None
        runs_in(places, pid, "0::/system.slice/synguard.service\n")
        assert commands_for(host.runtime, places).reload == f"kill -HUP {pid}"


def test_where_none_runs_the_installed_unit_is_started_else_the_program(
    host: CliHost, places: AgentPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/srv/clone/.venv/bin/synguard", "status"])
    assert start_command(places) == "/srv/clone/.venv/bin/synguard run"
    monkeypatch.setattr(sys, "argv", ["/usr/bin/synguard", "status"])
    assert start_command(places) == "synguard run"
    places.units[0].mkdir()
    (places.units[0] / "synguard.service").touch()
    assert start_command(places) == "systemctl start synguard"


def test_in_a_container_of_its_own_the_agent_is_restarted_with_it(
    host: CliHost, places: AgentPlaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synguard.status.agent_commands.agent_pid", lambda _: 1)
    places.systemd.rmdir()
    (tmp_path / ".dockerenv").touch()
    inside = replace(places, in_container=(tmp_path / ".dockerenv",))
    assert commands_for(host.runtime, inside).restart == "restart this container"
    assert commands_for(host.runtime, replace(places, in_container=())).restart.startswith("kill 1, then ")


def test_a_lock_that_is_only_looked_at_is_no_agent(host: CliHost) -> None:
    path = host.runtime / AGENT_LOCK
    path.write_text("4711")
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert agent_pid(host.runtime) is None
