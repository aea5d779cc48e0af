"""A test inside a network namespace of its own: one thread, no name, gone when the thread ends.

For sensors that are asked in-process; whole hosts with routers and clients are the lab's business. ``/proc/net``
still shows the main thread's namespace: use ``THREAD_NET``.
"""

from __future__ import annotations

import ctypes
import functools
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.support.lab.flood_plan import SourceGroup
from tests.support.lab.frames import GroupFrames, Route

THREAD_NET: Final = Path("/proc/thread-self/net")
HOST4: Final = IPv4Address("10.9.0.1")
HOST6: Final = IPv6Address("fd09::1")

_CLONE_NEWNET: Final = 0x40000000
_SETUP: Final = """\
link set lo up
link add wire0 type veth peer name wire1
link set wire0 arp off
link set wire1 arp off
addr add 10.9.0.1/24 dev wire0
addr add fd09::1/64 dev wire0 nodad
link set wire0 up
link set wire1 up
link add sink type ifb
addr add 10.8.0.1/24 dev sink
addr add fd08::1/64 dev sink nodad
link set sink up
route add default via 10.8.0.254
route add ::/0 via fd08::fe
"""
"""Answers go into a sink, by one gateway. The kernel drops a half-open socket whose SYN-ACK it cannot repeat, and
thousands repeated in one tick overflow a veth's backlog (``netdev_max_backlog``, 1,000), or the neighbour table."""


def in_own_network(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test in a new network namespace with ``lo``, ``HOST4``, ``HOST6`` and a wire to throw packets at them."""

    @functools.wraps(test)
    def wrapped(*given: Any, **named: Any) -> None:
        failed: list[BaseException] = []

        def body() -> None:
            try:
                if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
                    code = ctypes.get_errno()
                    raise OSError(code, f"unshare(CLONE_NEWNET): {os.strerror(code)}")
                subprocess.run(["ip", "-batch", "-"], input=_SETUP, text=True, check=True, timeout=20)
                test(*given, **named)
            except BaseException as error:  # carried over to the thread that pytest watches
                failed.append(error)

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]

    return wrapped


def set_sysctls(values: Mapping[str, int]) -> None:
    """Set sysctls of the calling thread's namespace: ``{"net.core.somaxconn": 65535}``."""
    words = [f"{name}={value}" for name, value in values.items()]
    subprocess.run(["sysctl", "-q", "-w", *words], check=True, timeout=20)


def throw_syns(group: SourceGroup, count: int, ports: tuple[int, ...], seed: int = 1) -> None:
    """Send ``count`` SYNs of a source group to this namespace's host, a hundred at a time."""
    route = Route(mac_of("wire1"), mac_of("wire0"), HOST4, HOST6)
    frames = GroupFrames(group, route, ports, np.random.default_rng(seed))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.bind(("wire1", 0))
        for start in range(0, count, 100):
            for frame in frames.build(min(100, count - start)):
                wire.send(frame.tobytes())


def wait_until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Return once ``condition`` holds.

    Raises:
        TimeoutError: It does not in time.
    """
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {within_s:g} s")
        time.sleep(0.01)


def mac_of(link: str) -> bytes:
    """Return an interface's link address."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as probe:
        probe.bind((link, 0))
        return bytes(probe.getsockname()[4])
