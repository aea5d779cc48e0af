"""Names of listening processes: found once, looked for seldom, at a bounded cost."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from itertools import count

import numpy as np
import pytest

from synguard.sensors import listener_names
from synguard.sensors.listener_names import RESCAN_S, ListenerNames

ME = os.getpid()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        opened.listen()
        yield opened


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Processes looked at, in order; there are three, of which the last is this one."""
    looked_at: list[int] = []
    look = listener_names._socket_inodes

    def noted(pid: int) -> set[int]:
        looked_at.append(pid)
        return look(pid) if pid == ME else set()

    monkeypatch.setattr(listener_names.psutil, "pids", lambda: [ME - 2, ME - 1, ME])
    monkeypatch.setattr(listener_names, "_socket_inodes", noted)
    return looked_at


def inodes(*sockets: socket.socket | int) -> np.ndarray:  # type: ignore[type-arg]
    return np.array([one if isinstance(one, int) else os.fstat(one.fileno()).st_ino for one in sockets], np.uint32)


def test_a_listener_of_this_process_is_named(listener: socket.socket) -> None:
    (name,) = ListenerNames().names(inodes(listener), 0.0)
    assert name.endswith(f"[{ME}]")


def test_a_known_name_is_not_looked_for_again(listener: socket.socket, scans: list[int]) -> None:
    names = ListenerNames()
    first = names.names(inodes(listener), 0.0)
    assert scans == [ME - 2, ME - 1, ME]
    assert names.names(inodes(listener), 1000.0) == first
    assert len(scans) == 3


def test_whether_a_known_process_lives_is_asked_at_the_slow_cadence_only(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(listener_names.psutil, "pid_exists", lambda pid: bool(asked.append(pid)) or True)
    names = ListenerNames()
    names.names(inodes(listener), 0.0)
    for tick in range(1, 100):
        names.names(inodes(listener), tick / 10)
    assert len(asked) == 9.9 // RESCAN_S


def test_an_unknown_name_is_looked_for_at_the_slow_cadence_only(scans: list[int]) -> None:
    names = ListenerNames()
    for now in (0.0, 0.2, RESCAN_S - 0.1):
        assert names.names(inodes(4_000_000_000), now) == [""]
    assert len(scans) == 3
    names.names(inodes(4_000_000_000), RESCAN_S)
    assert len(scans) == 6


def test_a_scan_that_runs_out_of_time_goes_on_where_it_stopped(
    listener: socket.socket, scans: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count()
    monkeypatch.setattr(listener_names.time, "monotonic", lambda: next(ticks) * listener_names.SCAN_FOR_S * 0.6)
    names = ListenerNames()
    assert names.names(inodes(listener), 0.0) == [""]
    assert scans == [ME - 2]
    names.names(inodes(listener), RESCAN_S)
    (name,) = names.names(inodes(listener), 2 * RESCAN_S)
    assert scans == [ME - 2, ME - 1, ME]
    assert name.endswith(f"[{ME}]")


def test_the_name_of_a_socket_that_is_gone_is_forgotten(listener: socket.socket) -> None:
    names = ListenerNames()
    names.names(inodes(listener), 0.0)
    names.names(inodes(), 1.0)
    assert names._found == {}


def test_a_socket_that_outlives_its_process_gets_the_name_of_another(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ListenerNames()
    monkeypatch.setattr(listener_names, "process_name", lambda pid: "first")
    names.names(inodes(listener), 0.0)
    monkeypatch.setattr(listener_names.psutil, "pid_exists", lambda pid: False)
    monkeypatch.setattr(listener_names, "process_name", lambda pid: "second")
    assert names.names(inodes(listener), RESCAN_S - 0.1) == ["first"]
    assert names.names(inodes(listener), RESCAN_S) == ["second"]


def test_a_socket_without_inode_is_nobodys(scans: list[int]) -> None:
    assert ListenerNames().names(inodes(0), 0.0) == [""]
    assert scans == []


def test_a_process_that_may_not_be_looked_at_is_passed_over() -> None:
    assert listener_names._socket_inodes(2**22 + 1) == set()
    assert listener_names.process_name(2**22 + 1) == f"[{2**22 + 1}]"
