"""What a service manager hears, on a real socket, as systemd opens one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from synguard.agent.systemd import PINGS, ServiceManager, status_line
from synguard.model import Mode
from synguard.status.model import Status

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NO_TICK: Any = None


class Manager:
    """Receives as systemd does."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)

    def heard(self) -> list[str]:
        """Return the lines of all messages so far."""
        lines: list[str] = []
        try:
            while True:
                lines += self.socket.recv(4096).decode().split("\n")
        except BlockingIOError:
            return lines


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@synguard-test-{os.getpid()}"
    one = Manager(address)
    yield one
    one.socket.close()


def status(**fields: Any) -> Status:
    known: dict[str, Any] = {
        "mode": Mode.ENFORCE, "plane": "iptables-sets", "show_command": "", "healthy": True, "pid": 1,
        "started_at": AT, "last_reading_at": AT, "policies": ("default",), "bans_active": 3,
    }  # fmt: skip
    return Status(**known | fields)


def test_a_life_is_told_from_ready_to_stopping(manager: Manager) -> None:
    told = ServiceManager(manager.address)
    told.ready()
    told.read(status())
    told.stopping()
    assert manager.heard() == [
        "READY=1", f"MAINPID={os.getpid()}", "STATUS=enforcing by iptables-sets, calm, 3 bans",
        "STOPPING=1", "STATUS=stopping after this tick; bans stay and expire by themselves",
    ]  # fmt: skip


def test_the_watchdog_hears_of_ticks_some_times_within_its_patience_and_of_nothing_else(manager: Manager) -> None:
    told = ServiceManager(manager.address, watchdog_s=8.0)
    told.read(status())
    manager.heard()
    for step in range(160):  # eight seconds of ticks
        told.tick(NO_TICK, 100.0 + step * 0.05, AT)
    assert manager.heard() == ["WATCHDOG=1"] * PINGS


def test_a_reload_is_over_when_the_tick_after_it_is(manager: Manager) -> None:
    """The signal may come amid a tick; the one that it came in still judges by the old policy."""
    told = ServiceManager(manager.address)
    load = told.reloading(lambda: (NO_TICK, ()))
    [reloading, moment] = manager.heard()
    assert reloading == "RELOADING=1"
    assert moment.startswith("MONOTONIC_USEC=")
    told.tick(NO_TICK, 1.0, AT)
    assert manager.heard() == []
    load()
    told.tick(NO_TICK, 1.2, AT)
    told.tick(NO_TICK, 1.4, AT)
    assert manager.heard() == ["READY=1"]


def test_status_is_told_when_it_changes_and_what_is_wrong_comes_first(manager: Manager) -> None:
    told = ServiceManager(manager.address)
    for _ in range(3):
        told.read(status())
    told.read(status(healthy=False, problems=("the disk is full",)))
    assert manager.heard() == [
        "STATUS=enforcing by iptables-sets, calm, 3 bans",
        "STATUS=NOT HEALTHY: the disk is full; enforcing by iptables-sets, calm, 3 bans",
    ]


def test_a_name_that_a_stranger_chose_cannot_speak_to_the_service_manager() -> None:
    """A process may call itself ``x\\nMAINPID=1``; a line break in a message begins another assignment."""
    line = status_line(status(problems=("x\nMAINPID=1\x1b[2J" + "y" * 1000,)))
    assert line.isprintable()
    assert len(line) < 300


def test_who_waits_is_read_from_the_environment_once_and_not_handed_on_to_tools(manager: Manager) -> None:
    environment = {
        "NOTIFY_SOCKET": manager.address,
        "WATCHDOG_USEC": "4000000",
        "WATCHDOG_PID": str(os.getpid()),
        "A": "b",
    }
    told = ServiceManager.here(environment)
    told.tick(NO_TICK, 0.0, AT)
    assert manager.heard() == ["WATCHDOG=1"]
    assert environment == {"A": "b"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NOTIFY_SOCKET": "relative/path", "WATCHDOG_USEC": "1"},
        {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "-7"},
        {"NOTIFY_SOCKET": "@" + "x" * 4000, "WATCHDOG_USEC": "many"},
    ],
    ids=["none", "relative", "gone", "too long"],
)
def test_without_a_manager_or_with_one_that_cannot_be_reached_nothing_happens(environment: dict[str, str]) -> None:
    told = ServiceManager.here(environment)
    told.ready()
    told.tick(NO_TICK, 1.0, AT)
    told.read(status())
    told.stopping()


def test_a_watchdog_of_another_process_is_not_ours(manager: Manager) -> None:
    told = ServiceManager.here({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"})
    told.tick(NO_TICK, 1.0, AT)
    assert manager.heard() == []


def test_a_full_queue_makes_no_tick_wait(manager: Manager) -> None:
    told = ServiceManager(manager.address, watchdog_s=0.4)
    for step in range(2000):  # nobody reads; the socket does not block
        told.tick(NO_TICK, float(step), AT)
    assert len(manager.heard()) < 2000
