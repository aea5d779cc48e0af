"""Socket tables by psutil: the fallback where sock_diag is refused; some fifteen times its cost per socket.

``/proc/net/tcp`` gives no backlog, so listeners here carry ``somaxconn``, the most it can be, and no queue.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil

from synguard.addresses import V4_PREFIX, parse_address
from synguard.columns import U32, U64, ColumnTable
from synguard.errors import SensorError
from synguard.socket_table import SocketTable, TcpState

MOST_SOCKETS: Final = 500_000
"""Beyond this a Python object per socket costs more than an operator would bear: the reading is an error."""

_SOMAXCONN: Final = Path("/proc/sys/net/core/somaxconn")
_DEFAULT_SOMAXCONN: Final = 4096


@dataclass(frozen=True, slots=True)
class Owned(ColumnTable):
    """A socket table, and whose each socket is."""

    table: SocketTable
    pid: U32
    """0 where unknown."""


def tcp_table() -> Owned:
    """Return every TCP socket, without queues but with ``somaxconn`` as every backlog.

    Raises:
        SensorError: psutil cannot read them, or there are more than ``MOST_SOCKETS``.
    """
    states = TcpState.__members__  # psutil's words are their names
    found = [(states.get(entry.status, TcpState.CLOSE), entry) for entry in _entries("tcp")]
    return Owned(_table(found), np.array([entry.pid or 0 for _, entry in found], np.uint32))


def udp_table() -> SocketTable:
    """Return every UDP socket: connected ones ``ESTABLISHED``, the others ``CLOSE``, as sock_diag has it.

    Raises:
        SensorError: psutil cannot read them, or there are more than ``MOST_SOCKETS``.
    """
    return _table(
        [(TcpState.ESTABLISHED if entry.raddr else TcpState.CLOSE, entry) for entry in _entries("udp")],
    )


def _entries(kind: str) -> Sequence[Any]:
    try:
        entries = list(islice(psutil.net_connections(kind=kind), MOST_SOCKETS + 1))
    except (psutil.Error, OSError, RuntimeError) as error:
        raise SensorError(f"psutil cannot list {kind} sockets either: {error}") from error
    if len(entries) > MOST_SOCKETS:
        raise SensorError(f"more than {MOST_SOCKETS} sockets are too many for psutil: allow this process sock_diag")
    return entries


def _table(found: Sequence[tuple[TcpState, Any]]) -> SocketTable:
    state = np.array([state for state, _ in found], np.uint8)
    backlog = np.where(state == TcpState.LISTEN, _somaxconn(), 0).astype(np.uint32)
    local_high, local_low = _columns([(entry.family, entry.laddr) for _, entry in found])
    remote_high, remote_low = _columns([(entry.family, entry.raddr) for _, entry in found])
    return SocketTable(
        state=state,
        local_high=local_high,
        local_low=local_low,
        local_port=np.array([entry.laddr.port if entry.laddr else 0 for _, entry in found], np.uint16),
        remote_high=remote_high,
        remote_low=remote_low,
        remote_port=np.array([entry.raddr.port if entry.raddr else 0 for _, entry in found], np.uint16),
        recv_queue=np.zeros(len(found), np.uint32),
        send_queue=backlog,
        cookie=np.zeros(len(found), np.uint64),
    )


def _columns(ends: Sequence[tuple[int, Any]]) -> tuple[U64, U64]:
    values = [_as_ipv6(family, end.ip if end else "") for family, end in ends]
    high = np.array([value >> 64 for value in values], np.uint64)
    return high, np.array([value & 0xFFFF_FFFF_FFFF_FFFF for value in values], np.uint64)


def _as_ipv6(family: int, text: str) -> int:
    """Return an address as the number of its IPv6 form; an absent one is its family's unspecified address."""
    address = parse_address(text or ("0.0.0.0" if family == socket.AF_INET else "::"))  # noqa: S104  # binds nothing
    return V4_PREFIX << 32 | int(address) if address.version == 4 else int(address)


def _somaxconn() -> int:
    try:
        return int(_SOMAXCONN.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return _DEFAULT_SOMAXCONN
