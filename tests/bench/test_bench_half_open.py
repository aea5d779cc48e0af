"""What one reading of all half-open sockets costs, beside what operators use, at three sizes in one run.

Each reader gives every half-open socket's addresses to this process: the sensor as columns, psutil as objects, the
tools as text. psutil is spared its search for owners (it sees no processes through ``/proc/thread-self``).
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from statistics import median
from typing import Final

import psutil
import pytest

from synguard.sensors.sockets import SocketTables
from tests.support.lab.flood_plan import anywhere
from tests.support.own_network import THREAD_NET, in_own_network, set_sysctls, throw_syns, wait_until

SIZES: Final = (500, 4_000) if os.environ.get("SHORT") else (500, 4_000, 40_000)
ROUNDS: Final = 7
PORTS: Final = (80, 443, 8080, 8443)
SYSCTLS: Final = {
    "net.core.somaxconn": 65535,
    "net.ipv4.tcp_max_syn_backlog": 65535,
    "net.ipv4.tcp_synack_retries": 6,  # half-open sockets live 127 s, longer than the run
}


def by_ss() -> int:
    return len(output("ss", "-tn", "state", "syn-recv").splitlines()) - 1  # one line of titles


def by_netstat() -> int:
    return output("netstat", "-nt").count(b" SYN_RECV")


def output(*command: str) -> bytes:
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


def by_psutil() -> int:
    return sum(entry.status == psutil.CONN_SYN_RECV for entry in psutil.net_connections(kind="tcp"))


def medians_ms(readers: dict[str, Callable[[], int]], expected: int) -> dict[str, float]:
    """Return reader → milliseconds; they take turns, so that what else the machine does falls on all alike."""
    times: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(ROUNDS):
        for name, read in readers.items():
            start = time.perf_counter()
            count = read()
            times[name].append(1000 * (time.perf_counter() - start))
            assert count == expected, f"{name} must see every half-open socket"
    return {name: median(taken) for name, taken in times.items()}


@pytest.mark.bench
@pytest.mark.kernel
@in_own_network
def test_half_open_reading_beside_ss_netstat_and_psutil(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(THREAD_NET.parent))
    set_sysctls(SYSCTLS)
    sockets = SocketTables()
    readers: dict[str, Callable[[], int]] = {
        "synguard": lambda: len(sockets.half_open(time.monotonic()).table),
        "ss": by_ss,
        "netstat": by_netstat,
        "psutil": by_psutil,
    }
    lines = [f"{'half-open':>9}" + "".join(f"{name:>20}" for name in readers)]
    with ExitStack() as stack:
        stack.callback(sockets.close)
        for port in PORTS:
            listener = stack.enter_context(socket.socket(socket.AF_INET6))
            listener.bind(("::", port))
            listener.listen(65535)
        before = 0
        for size in SIZES:
            throw_syns(anywhere(4), size - before - 50, PORTS, seed=size)
            throw_syns(anywhere(6), 50, PORTS, seed=size)
            wait_until(lambda size=size: readers["synguard"]() == size)  # type: ignore[misc]
            times = medians_ms(readers, size)
            cells = [f"{taken:.1f} ms ({taken / times['synguard']:.1f}x)" for taken in times.values()]
            lines.append(f"{size:>9}" + "".join(f"{cell:>20}" for cell in cells))
            before = size
    with capsys.disabled():
        print("\n" + "\n".join(lines))
