"""What a look at the socket table costs where an unprivileged user opens very many listeners: prints only, CPU time."""

from __future__ import annotations

import resource
import socket
import time
from contextlib import ExitStack
from typing import Final

import pytest

from synguard.detector.pressure import pressure_on
from synguard.sensors.sockets import SocketTables
from tests.netns.test_sockets import reading
from tests.support.own_network import in_own_network

pytestmark = [pytest.mark.bench, pytest.mark.kernel]

LOOKS: Final = 20
SPARE: Final = 500
"""Descriptors that the run itself needs."""


def look(sockets: SocketTables, now: float) -> None:
    """Read what a tick reads of the socket table, and what it makes of it."""
    half_open = sockets.half_open(now)
    pressure_on(sockets.listeners(now), half_open)
    sockets.served_ports(now)
    sockets.connections(now)


@in_own_network
def test_a_look_with_many_listeners(capsys: pytest.CaptureFixture[str]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    out: list[str] = []
    held: list[socket.socket] = []
    try:
        with ExitStack() as stack, reading() as sockets:
            for count in (100, min(18_000, hard - SPARE), min(57_000, hard - SPARE)):
                while len(held) < count:
                    held.append(stack.enter_context(socket.create_server(("127.0.0.1", 2000 + len(held)), backlog=1)))
                look(sockets, 0.0)
                start = time.thread_time()
                for turn in range(LOOKS):
                    look(sockets, 1.0 + turn / LOOKS)
                out.append(f"{count:>7,} listeners {(time.thread_time() - start) * 1000 / LOOKS:>7.1f} ms a look")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with capsys.disabled():
        print("\n" + "\n".join(dict.fromkeys(out)))
