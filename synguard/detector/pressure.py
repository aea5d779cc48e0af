"""How full each listener's SYN queue is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, TypeAlias

import numpy as np

from synguard.detector.assessment import ListenerPressure
from synguard.detector.columns import is_ipv4
from synguard.readings import Listener, SocketReading

FULL: Final = 0.9
"""Fill from which a queue is taken as full: the kernel prunes it, so that it is seldom caught at the brim."""


Queue: TypeAlias = tuple[int, int, str]
"""Port, IP version of the listener, and the network namespace it lives in."""


def pressure_on(listeners: Iterable[Listener], half_open: SocketReading | None) -> tuple[ListenerPressure, ...]:
    """Return the pressure on each listening port, family and network namespace, ports ascending.

    IPv4 and IPv6 sockets of one port have queues of their own, unless a single IPv6 socket takes both. A reuseport
    group is added up, for the kernel spreads connections over it.
    """
    groups: dict[Queue, list[Listener]] = {}
    for listener in listeners:
        groups.setdefault((listener.port, listener.address.version, listener.namespace), []).append(listener)
    waiting = _half_open_by_queue(half_open, groups)
    return tuple(_pressure(queue, sockets, waiting.get(queue, 0)) for queue, sockets in sorted(groups.items()))


def _half_open_by_queue(reading: SocketReading | None, groups: Collection[Queue]) -> Mapping[Queue, int]:
    """Return queue → half-open sockets; queues with none are absent."""
    waiting: dict[Queue, int] = {}
    for namespace, table in reading.parts() if reading is not None else ():
        ipv4 = is_ipv4(table.remote_high, table.remote_low)
        for version, rows in ((4, ipv4), (6, ~ipv4)):
            ports, counts = np.unique(table.local_port[rows], return_counts=True)
            for port, count in zip(ports.tolist(), counts.tolist(), strict=True):
                own = (port, version, namespace)
                queue = own if own in groups else (port, 6, namespace)
                waiting[queue] = waiting.get(queue, 0) + count
    return waiting


def _pressure(queue: Queue, sockets: list[Listener], half_open: int) -> ListenerPressure:
    port, version, namespace = queue
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
        namespace=namespace,
    )
