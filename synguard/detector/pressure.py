"""How full each listener's SYN queue is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from synguard.addresses import Address, host_network
from synguard.detector.assessment import ListenerPressure
from synguard.detector.columns import halves, is_ipv4
from synguard.readings import Listener, SocketReading
from synguard.socket_table import SocketTable

FULL: Final = 0.9
"""Fill from which a queue is taken as full: the kernel prunes it, so that it is seldom caught at the brim."""

ELSEWHERE: Final = "by TPROXY or sk_lookup"
"""Stands for the process where half-open sockets are on a port that no socket listens on."""

Queue: TypeAlias = tuple[int, int, str]
"""Port, IP version of the listener, and the network namespace it lives in."""
_Groups: TypeAlias = Mapping[Queue, Mapping[int, list[Listener]]]
"""Queue → key of the local address → the listeners there."""
_MIX: Final = 0x9E37_79B9_7F4A_7C15
_ALL: Final = 0xFFFF_FFFF_FFFF_FFFF


def pressure_on(listeners: Iterable[Listener], half_open: SocketReading | None) -> tuple[ListenerPressure, ...]:
    """Return the pressure on each port, family and network namespace, ports ascending.

    IPv4 and IPv6 sockets of one port have queues of their own, unless a single IPv6 socket takes both. A reuseport
    group is added up, for the kernel spreads connections over it. Where one port has listeners at several addresses,
    the fullest of them counts: added up, nineteen idle ones would hide it. Half-open sockets on a port without a
    listener, which the kernel hands to a listener elsewhere, count against the longest queue there is.
    """
    everyone = list(listeners)
    groups: dict[Queue, dict[int, list[Listener]]] = {}
    for listener in everyone:
        queue: Queue = listener.port, listener.address.version, listener.namespace
        groups.setdefault(queue, {}).setdefault(_key_of(listener.address), []).append(listener)
    waiting = _half_open_by_queue(half_open, groups)
    found = [_fullest(queue, several, waiting.get(queue, {})) for queue, several in groups.items()]
    for alone in waiting.keys() - groups.keys():
        backlog = max((one.backlog for one in everyone if one.namespace == alone[2]), default=0)
        found.append(_pressure(alone, backlog, sum(waiting[alone].values()), process=ELSEWHERE))
    return tuple(sorted(found, key=lambda one: (one.port, one.version, one.namespace)))


def _half_open_by_queue(reading: SocketReading | None, groups: _Groups) -> Mapping[Queue, Mapping[int, int]]:
    """Return queue → key of the listener's address → half-open sockets; what has none is absent."""
    waiting: dict[Queue, dict[int, int]] = {}
    for namespace, table in reading.parts() if reading is not None else ():
        ipv4 = is_ipv4(table.remote_high, table.remote_low)
        for version, rows in ((4, ipv4), (6, ~ipv4)):
            if not rows.any():
                continue
            ports, counts = np.unique(table.local_port[rows], return_counts=True)
            for port, count in zip(ports.tolist(), counts.tolist(), strict=True):
                own, wide = (port, version, namespace), (port, 6, namespace)
                there = groups.get(own, {})
                rest = own if _anywhere(there) or (there and not _anywhere(groups.get(wide, {}))) else wide
                by_address = {0: count} if set(there) <= _anywhere(there) else _by_address(table, rows, port)
                for key, number in by_address.items():
                    queue, place = (own, key) if key in there else (rest, _place(groups.get(rest, {})))
                    known = waiting.setdefault(queue, {})
                    known[place] = known.get(place, 0) + number
    return waiting


def _by_address(table: SocketTable, rows: npt.NDArray[np.bool_], port: int) -> dict[int, int]:
    """Return key of the local address → half-open sockets of one port."""
    mine = rows & (table.local_port == port)
    keys, counts = np.unique(table.local_low[mine] ^ (table.local_high[mine] * np.uint64(_MIX)), return_counts=True)
    return dict(zip(keys.tolist(), counts.tolist(), strict=True))


def _anywhere(several: Mapping[int, list[Listener]]) -> set[int]:
    """Return the key of the listeners that take what comes to any address; empty where there are none."""
    return {key for key, there in several.items() if there[0].address.is_unspecified}


def _place(several: Mapping[int, list[Listener]]) -> int:
    """Return the key of what takes sockets that are to no listener's own address."""
    return next(iter(_anywhere(several) or several), 0)


def _key_of(address: Address) -> int:
    """Return one number for an address, the same as for a row with it."""
    high, low = halves(host_network(address))
    return low ^ (high * _MIX & _ALL)


def _fullest(queue: Queue, several: Mapping[int, list[Listener]], waiting: Mapping[int, int]) -> ListenerPressure:
    """Return the pressure on the fullest of the listeners that share a port."""
    found = [
        _pressure(
            queue,
            sum(socket.backlog for socket in there),
            waiting.get(key, 0),
            process=next((socket.process for socket in there if socket.process), ""),
            accept_queue=sum(socket.accept_queue for socket in there),
            accepting=any(socket.accept_queue <= socket.backlog for socket in there),
        )
        for key, there in several.items()
    ]
    return max(found, key=lambda one: (one.fill, not one.accepting, one.half_open))


def _pressure(
    queue: Queue, backlog: int, half_open: int, *, process: str, accept_queue: int = 0, accepting: bool = True
) -> ListenerPressure:
    port, version, namespace = queue
    return ListenerPressure(
        port=port,
        version=version,
        process=process,
        half_open=half_open,
        backlog=backlog,
        accept_queue=accept_queue,
        accepting=accepting,
        censored=accepting and half_open >= FULL * backlog,
        namespace=namespace,
    )
