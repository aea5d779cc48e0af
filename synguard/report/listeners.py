"""What listens here, and how full its two queues are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from synguard.addresses import Address, host_network
from synguard.detector.columns import inside, is_ipv4
from synguard.jsonable import fields_of
from synguard.readings import Listener
from synguard.socket_table import SocketTable, TcpState


@dataclass(frozen=True, slots=True)
class Load:
    """One address and port that listens; sockets that share it (``SO_REUSEPORT``) are one."""

    address: Address
    port: int
    process: str
    backlog: int
    accept_queue: int
    half_open: int

    @property
    def accept_fill(self) -> float:
        """Connections that wait for the application, over the most that may; 0 to about 1."""
        return self.accept_queue / self.backlog if self.backlog else 0.0

    @property
    def half_open_fill(self) -> float:
        """Half-open sockets over the most that there may be; 0 to about 1."""
        return self.half_open / self.backlog if self.backlog else 0.0


def loads(listeners: Iterable[Listener], table: SocketTable) -> list[Load]:
    """Return what listens with its half-open sockets among ``table``, the fullest first, then by port."""
    merged: dict[tuple[Address, int], list[Listener]] = {}
    for listener in listeners:
        merged.setdefault((listener.address, listener.port), []).append(listener)
    half_open = _half_open(merged, table.where(table.state == TcpState.SYN_RECV))
    found = [
        Load(
            address=address,
            port=port,
            process=next((listener.process for listener in same if listener.process), ""),
            backlog=sum(listener.backlog for listener in same),
            accept_queue=sum(listener.accept_queue for listener in same),
            half_open=half_open[address, port],
        )
        for (address, port), same in merged.items()
    ]
    return sorted(
        found,
        key=lambda load: (-max(load.half_open_fill, load.accept_fill), load.port, load.address.version, load.address),
    )


def load_shape(load: Load) -> dict[str, Any]:
    """Return a listener as JSON has it."""
    fill = {"accept_fill": round(load.accept_fill, 4), "half_open_fill": round(load.half_open_fill, 4)}
    return fields_of(load, "address port process backlog accept_queue half_open") | fill


def _half_open(places: Iterable[tuple[Address, int]], table: SocketTable) -> dict[tuple[Address, int], int]:
    """Return how many half-open sockets each place holds; as in the kernel, the most particular address takes them.

    IPv4 goes to ``::`` only where no IPv4 socket listens on that port.
    """
    v4 = is_ipv4(table.local_high, table.local_low)
    left = np.ones(len(table), np.bool_)
    counts = {}
    for address, port in sorted(places, key=lambda place: (place[0].is_unspecified, place[0].version)):
        taken = left & (table.local_port == port)
        if not address.is_unspecified:
            taken &= inside(table.local_high, table.local_low, host_network(address))
        elif address.version == 4:
            taken &= v4
        counts[address, port] = int(np.count_nonzero(taken))
        left &= ~taken
    return counts
