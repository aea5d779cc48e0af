"""The sockets of a host as columns, and the TCP states that they are in.

Addresses are two ``uint64`` columns, the high and low half of the IPv6 form; IPv4 is
``::ffff:a.b.c.d``, so one pair of columns carries both families and nothing is a Python object per socket.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from synguard.columns import U8, U16, U32, U64, ColumnTable

if TYPE_CHECKING:
    import numpy as np
else:
    from synguard.columns import np


class TcpState(IntEnum):
    """TCP states as the kernel numbers them (include/net/tcp_states.h); names as ``ss`` and ``netstat`` know them."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11


CONNECTED: Final = frozenset(
    {
        TcpState.ESTABLISHED,
        TcpState.FIN_WAIT1,
        TcpState.FIN_WAIT2,
        TcpState.CLOSE_WAIT,
        TcpState.LAST_ACK,
        TcpState.CLOSING,
    }
)
"""States that only a completed handshake reaches and that still hold a socket; ``TIME_WAIT`` is counted apart,
since on a server that closes first it is a minute's history of honest clients."""


@dataclass(frozen=True, slots=True)
class SocketTable(ColumnTable):
    """Sockets as columns of equal length, one row a socket, in the order the kernel gave them."""

    state: U8
    local_high: U64
    local_low: U64
    local_port: U16
    remote_high: U64
    remote_low: U64
    remote_port: U16
    recv_queue: U32
    """Bytes unread; for ``LISTEN`` the connections waiting for ``accept()``; for ``SYN_RECV`` how often the SYN-ACK was
    sent again; for one that has ended, 1 where this host closed it without an answer, else 0."""
    send_queue: U32
    """Bytes unacknowledged; for ``LISTEN`` the backlog, ``min(backlog, somaxconn)``; for ``SYN_RECV``
    milliseconds until its timer runs out again."""
    cookie: U64
    """The kernel's name for the socket, never given twice while the host is up; 0 where it is not known."""

    def head(self, rows: int) -> SocketTable:
        """Return the first ``rows`` rows."""
        return self if len(self) <= rows else self.where(np.arange(len(self)) < rows)


@dataclass(frozen=True, slots=True)
class Presence:
    """The sockets whose remote end is in one network."""

    sockets: dict[str, int]
    """TCP state → sockets, the most first; states with none are absent, and so are listeners."""
    peers: int
    """Distinct addresses that hold a connection with a completed handshake."""


def local_ports(table: SocketTable) -> list[int]:
    """Return the distinct local ports, ascending: a tenth of the time that sorting a flood's column takes."""
    seen = np.zeros(1 << 16, np.bool_)
    seen[table.local_port] = True
    return np.flatnonzero(seen).tolist()
