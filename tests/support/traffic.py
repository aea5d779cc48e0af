"""Made-up readings: who has how many sockets, who sends how many SYNs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address

import numpy as np

from synguard.readings import (
    U64,
    V4_PREFIX,
    CounterReading,
    Listener,
    SocketReading,
    SocketTable,
    SynSample,
    TcpState,
    empty_table,
)

Counts = Mapping[str, int]
"""Address → how many."""


def columns(addresses: Sequence[str]) -> tuple[U64, U64]:
    """Return addresses as (high, low) columns."""
    values = [_value(address) for address in addresses]
    high = np.array([value >> 64 for value in values], np.uint64)
    low = np.array([value & (2**64 - 1) for value in values], np.uint64)
    return high, low


def table(
    counts: Counts, port: int = 80, state: TcpState = TcpState.SYN_RECV, first_remote_port: int = 1024
) -> SocketTable:
    """Return that many sockets of each address to one local port, each with a remote port of its own."""
    addresses = [address for address, count in counts.items() for _ in range(count)]
    high, low = columns(addresses)
    n = len(addresses)
    remote_ports = np.arange(first_remote_port, first_remote_port + n) % 60_000 + 1024
    return replace(
        empty_table(),
        state=np.full(n, state, np.uint8),
        local_high=np.zeros(n, np.uint64),
        local_low=np.full(n, V4_PREFIX << 32 | 0xC0000201, np.uint64),
        local_port=np.full(n, port, np.uint16),
        remote_high=high,
        remote_low=low,
        remote_port=remote_ports.astype(np.uint16),
        recv_queue=np.zeros(n, np.uint32),
        send_queue=np.zeros(n, np.uint32),
        cookie=np.zeros(n, np.uint64),
    )


def together(*tables: SocketTable) -> SocketTable:
    """Return the rows of several tables as one."""
    names = SocketTable.__dataclass_fields__
    return SocketTable(**{name: np.concatenate([getattr(one, name) for one in tables]) for name in names})


def sockets(at: float, *tables: SocketTable) -> SocketReading:
    """Return a reading of these tables' rows."""
    return SocketReading(at, together(*tables) if tables else empty_table(), "sock_diag")


def syns(at: float, counts: Counts, window_s: float, port: int = 80, one_in: int = 1) -> SynSample:
    """Return a sample in which each address was kept that often."""
    addresses = [address for address, count in counts.items() for _ in range(count)]
    high, low = columns(addresses)
    n = len(addresses)
    return SynSample(
        at=at,
        window_s=window_s,
        one_in=one_in,
        source_high=high,
        source_low=low,
        local_port=np.full(n, port, np.uint16),
        ttl=np.full(n, 64, np.uint8),
        tcp_window=np.full(n, 64240, np.uint16),
        options=np.full(n, 7, np.uint32),
    )


def listener(port: int = 80, backlog: int = 128, accept_queue: int = 0) -> Listener:
    """Return a web server that listens everywhere."""
    return Listener(ip_address("0.0.0.0"), port, backlog, accept_queue, "nginx[812]")


def counters(at: float, **values: int) -> CounterReading:
    """Return kernel counters."""
    return CounterReading(at, values)


def _value(address: str) -> int:
    parsed = ip_address(address)
    return V4_PREFIX << 32 | int(parsed) if parsed.version == 4 else int(parsed)
