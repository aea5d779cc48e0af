"""Made-up readings: who has how many sockets, who sends how many SYNs."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from ipaddress import ip_address

import numpy as np

from synguard.addresses import V4_PREFIX
from synguard.columns import U64
from synguard.readings import CounterReading, Listener, SocketReading, SynSample
from synguard.socket_table import SocketTable, TcpState

Counts = Mapping[str, int]
"""Address → how many."""

Header = tuple[int, int, int]
"""TTL, window, and the number for the TCP options."""
TOOL: Header = (52, 64240, 0x700D)
"""What a tool that forges addresses sends for all of them."""
_SYSTEMS = ((64, 64240, 1), (64, 65535, 2), (64, 29200, 3), (128, 64240, 4), (128, 65535, 5), (128, 8192, 6))


@cache
def natural(address: str) -> Header:
    """Return what the system at an address sends, worn down by the path from there; always the same for one address."""
    mixed = zlib.crc32(address.encode())
    ttl, window, options = _SYSTEMS[mixed % len(_SYSTEMS)]
    return ttl - 6 - mixed // 7 % 20, window, options


def forged(address: str) -> Header:
    """Return what the tool sends, whatever the address."""
    return TOOL


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
        SocketTable.none(),
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
    return SocketReading(at, together(*tables) if tables else SocketTable.none(), "sock_diag")


def syns(
    at: float,
    counts: Counts,
    window_s: float,
    port: int = 80,
    one_in: int = 1,
    header_of: Callable[[str], Header] = natural,
    *,
    whole: bool = False,
) -> SynSample:
    """Return a sample in which each address was kept that often; ``header_of`` is asked once for each address.

    ``whole`` headers are those that the program counts, with MSS and length.
    """
    repeats = list(counts.values())
    high, low = (np.repeat(column, repeats) for column in columns(list(counts)))
    n = len(low)
    sent = np.array([header_of(address) for address in counts], np.uint32).reshape(-1, 3).repeat(repeats, axis=0)
    return SynSample(
        at=at,
        window_s=window_s,
        one_in=one_in,
        source_high=high,
        source_low=low,
        local_port=np.full(n, port, np.uint16),
        ttl=sent[:, 0].astype(np.uint8),
        tcp_window=sent[:, 1].astype(np.uint16),
        options=sent[:, 2],
        more=np.zeros(n, np.uint32),
        rest=(np.full(n, 1460, np.uint16), np.full(n, 60, np.uint16)) if whole else None,
    )


def listener(port: int = 80, backlog: int = 128, accept_queue: int = 0) -> Listener:
    """Return a web server that listens everywhere."""
    return Listener(ip_address("0.0.0.0"), port, backlog, accept_queue, "nginx[812]")


def counters(at: float, **values: int) -> CounterReading:
    """Return kernel counters."""
    return CounterReading(at, values)


@cache
def _value(address: str) -> int:
    parsed = ip_address(address)
    return V4_PREFIX << 32 | int(parsed) if parsed.version == 4 else int(parsed)
