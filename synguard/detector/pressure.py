"""How full each listener's SYN queue is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from synguard.detector.assessment import ListenerPressure
from synguard.readings import Listener, SocketReading

FULL: Final = 0.9
"""Fill from which a queue is taken as full: the kernel prunes it, so that it is seldom caught at the brim."""


def pressure_on(listeners: Iterable[Listener], half_open: SocketReading | None) -> tuple[ListenerPressure, ...]:
    """Return the pressure on each listening port, ports ascending; sockets sharing a port are added up.

    A reuseport group has one backlog per socket. Its accept queue counts as full when all of them are.
    """
    waiting = _half_open_by_port(half_open)
    by_port: dict[int, list[Listener]] = {}
    for listener in listeners:
        by_port.setdefault(listener.port, []).append(listener)
    return tuple(_pressure(port, sockets, waiting.get(port, 0)) for port, sockets in sorted(by_port.items()))


def _half_open_by_port(reading: SocketReading | None) -> Mapping[int, int]:
    if reading is None:
        return {}
    ports, counts = np.unique(reading.table.local_port, return_counts=True)
    return dict(zip(ports.tolist(), counts.tolist(), strict=True))


def _pressure(port: int, sockets: list[Listener], half_open: int) -> ListenerPressure:
    backlog = sum(socket.backlog for socket in sockets)
    accepting = any(socket.accept_queue <= socket.backlog for socket in sockets)
    fullest_one = max(socket.backlog for socket in sockets)
    return ListenerPressure(
        port=port,
        process=next((socket.process for socket in sockets if socket.process), ""),
        half_open=half_open,
        backlog=backlog,
        accept_queue=sum(socket.accept_queue for socket in sockets),
        accepting=accepting,
        censored=accepting and half_open >= FULL * min(backlog, fullest_one),
    )
