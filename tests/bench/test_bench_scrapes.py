"""What scrapes cost a loop that ticks beside them: how late ticks come, unscraped, scraped, hung on, stormed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import numpy as np
import pytest

from synguard.metrics.exposition import Exposition
from synguard.metrics.server import AT_ONCE, MetricsServer
from tests.unit.test_metrics import listener, status

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

LASTS_S = 2.0 if os.environ.get("SHORT") else 20.0
TICK_S = 0.05
STORM = """
import socket, sys, time
port, gap, until = int(sys.argv[1]), float(sys.argv[2]), time.monotonic() + float(sys.argv[3])
while time.monotonic() < until:
    with socket.create_connection(("127.0.0.1", port), 1) as one:
        one.sendall(b"GET /metrics HTTP/1.1\\r\\n\\r\\n")
        if gap:
            while one.recv(65536): pass
    time.sleep(gap)
"""


def lateness_ms(exposition: Exposition) -> tuple[float, float]:
    """Tick for a while, a status every second; return how late ticks came: the 99th in a hundred, and the latest."""
    late = []
    begin = due = time.monotonic()
    told = -1
    while due < begin + LASTS_S:
        now = time.monotonic()
        if now < due:
            time.sleep(due - now)
        late.append(1000 * (time.monotonic() - due))
        if int(due - begin) > told:
            told = int(due - begin)
            exposition.take(status(*(listener(port) for port in range(1, 65))))
        due += TICK_S
    return float(np.percentile(late, 99)), max(late)


@contextmanager
def storm(port: int, gap_s: float, processes: int) -> Iterator[None]:
    command = [sys.executable, "-IS", "-c", STORM, str(port), str(gap_s), str(LASTS_S + 5)]
    running = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(processes)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def test_scrapes_beside_ticks() -> None:
    print()
    base = 0.0
    for name, scrapers, gap_s, hung in (
        ("nobody scrapes", 0, 0.0, 0),
        ("one scrape a second", 1, 1.0, 0),
        ("eight connections that never ask, again and again", 0, 0.0, AT_ONCE),
        ("as many as a process can open", 1, 0.0, 0),
    ):
        exposition = Exposition()
        exposition.take(status(listener()))
        server = MetricsServer("127.0.0.1", 0, exposition.text)
        server.start()
        with ExitStack() as held:
            for _ in range(hung):
                held.enter_context(closing(socket.create_connection(("127.0.0.1", server.port))))
            held.enter_context(storm(server.port, gap_s, scrapers))
            p99, latest = lateness_ms(exposition)
        server.stop()
        base = base or p99
        print(f"{name:50s} 99 % of ticks within {p99:6.2f} ms, the latest {latest:6.2f} ms: {p99 / base:5.1f} times")
