"""How full each listener's SYN queue is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import numpy as np

from synguard.detector.assessment import ListenerPressure
from synguard.detector.columns import is_ipv4
from synguard.readings import Listener, SocketReading

FULL: Final = 0.9
"""Fill from which a queue is taken as full: the kernel prunes it, so that it is seldom caught at the brim."""


def pressure_on(listeners: Iterable[Listener], half_open: SocketReading | None) -> tuple[ListenerPressure, ...]:
    """Return the pressure on each listening port and family, ports ascending.

    IPv4 and IPv6 sockets of one port have queues of their own, unless a single IPv6 socket takes both. A reuseport
    group is added up, for the kernel spreads connections over it.
    """
    groups: dict[tuple[int, int], list[Listener]] = {}
    for listener in listeners:
        groups.setdefault((listener.port, listener.address.version), []).append(listener)
    waiting = _half_open_by_queue(half_open, groups)
    return tuple(_pressure(queue, sockets, waiting.get(queue, 0)) for queue, sockets in sorted(groups.items()))


def _half_open_by_queue(
    reading: SocketReading | None, groups: Collection[tuple[int, int]]
) -> Mapping[tuple[int, int], int]:
    """Return (port, IP version of the listener) → half-open sockets; queues with none are absent."""
    if reading is None:
        return {}
    ipv4 = is_ipv4(reading.table.remote_high, reading.table.remote_low)
    waiting: dict[tuple[int, int], int] = {}
    for version, rows in ((4, ipv4), (6, ~ipv4)):
        ports, counts = np.unique(reading.table.local_port[rows], return_counts=True)
        for port, count in zip(ports.tolist(), counts.tolist(), strict=True):
            queue = (port, version if (port, version) in groups else 6)
            waiting[queue] = waiting.get(queue, 0) + count
    return waiting


def _pressure(queue: tuple[int, int], sockets: list[Listener], half_open: int) -> ListenerPressure:
    port, version = queue
    backlog = sum(socket.backlog for socket in sockets)
    accepting = any(socket.accept_queue <= socket.backlog for socket in sockets)
    return ListenerPressure(
        port=port,
        version=version,
        process=next((socket.process for socket in sockets if socket.process), ""),
        half_open=half_open,
        backlog=backlog,
        accept_queue=sum(socket.accept_queue for socket in sockets),
        accepting=accepting,
        censored=accepting and half_open >= FULL * backlog,
    )
