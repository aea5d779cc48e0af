"""What sensors saw at one moment: plain values that any attack can be replayed with.

Addresses are two ``uint64`` columns, the high and low half of the IPv6 form; IPv4 is
``::ffff:a.b.c.d``, so one pair of columns carries both families and nothing is a Python object per socket.
"""
# long: one value after the other

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv6Network
from typing import TYPE_CHECKING, Final, TypeAlias

from synguard.addresses import EMBEDDING, Address, Network

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    U64: TypeAlias = npt.NDArray[np.uint64]
    U32: TypeAlias = npt.NDArray[np.uint32]
    U16: TypeAlias = npt.NDArray[np.uint16]
    U8: TypeAlias = npt.NDArray[np.uint8]
else:  # numpy is a third of what a verb imports, and most verbs read no columns
    U64 = U32 = U16 = U8 = object

KnownParts: TypeAlias = Mapping[str, Mapping[Network, str]]
"""Source of protected networks → network → reason."""

CONTAINERS: Final = "containers"
"""The part of who is protected that is containers of this host which serve something."""


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
class SocketTable:
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

    def __len__(self) -> int:
        return len(self.state)

    def where(self, mask: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> SocketTable:
        """Return the rows where ``mask`` (bool, one per row) is true, or those that it numbers."""
        return SocketTable(
            *(getattr(self, name)[mask] for name in SocketTable.__slots__)  # type: ignore[attr-defined, unused-ignore]  # slots of a dataclass
        )

    def head(self, rows: int) -> SocketTable:
        """Return the first ``rows`` rows."""
        import numpy as np

        return self if len(self) <= rows else self.where(np.arange(len(self)) < rows)


@dataclass(frozen=True, slots=True)
class Presence:
    """The sockets whose remote end is in one network."""

    sockets: dict[str, int]
    """TCP state → sockets, the most first; states with none are absent, and so are listeners."""
    peers: int
    """Distinct addresses that hold a connection with a completed handshake."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening TCP socket."""

    address: Address
    """The unspecified address where it listens on all."""
    port: int
    backlog: int
    """The most connections that may wait, ``min(backlog, somaxconn)``; also bounds its half-open sockets."""
    accept_queue: int
    process: str = ""
    """Name and pid, ``nginx[812]``; empty where unknown."""
    namespace: str = ""
    """The other network namespace that it lives in; empty for ours."""
    inner_port: int = 0
    """The port in that namespace, where ``port`` is what clients write; 0 in ours."""


@dataclass(frozen=True, slots=True)
class NamespaceSpan:
    """Consecutive rows of a table that come from one network namespace."""

    namespace: str
    """Empty for ours."""
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class SocketReading:
    """A whole socket table for some states; sensors raise rather than pass off a part of one."""

    at: float
    """Monotonic seconds at the start of the dump."""
    table: SocketTable
    source: str
    """``sock_diag`` or ``psutil``."""
    spans: tuple[NamespaceSpan, ...] = ()
    """Which rows come from where; empty where all are of our own network namespace."""

    def parts(self) -> Iterator[tuple[str, SocketTable]]:
        """Yield (namespace, its rows); the namespace is empty for ours."""
        import numpy as np

        if not self.spans:
            yield "", self.table
        for span in self.spans:
            rows = np.arange(len(self.table))
            yield span.namespace, self.table.where((rows >= span.start) & (rows < span.stop))


@dataclass(frozen=True, slots=True)
class CounterReading:
    """Kernel TCP counters, absolute: name as in ``/proc/net/netstat`` without its group → value."""

    at: float
    values: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Absolute times of one CPU since boot, in the kernel's ticks."""

    cpu: int
    interrupts: int
    """In hard and soft interrupts."""
    total: int


@dataclass(frozen=True, slots=True)
class CpuReading:
    """Where the CPUs' time went, and what became of packets before TCP; absolute counters."""

    at: float
    cpus: tuple[CpuTimes, ...]
    taken: int
    """Packets taken from the receive backlogs."""
    dropped: int
    """Packets dropped because a receive backlog was full."""


@dataclass(frozen=True, slots=True)
class SynSample:  # wide: one record, a column each
    """SYNs kept by the in-kernel filter, or counted by the challenge program, since the last read.

    Each kept SYN stands for ``one_in`` on the wire. The filter gives a row for each, the program one for each source
    and port.
    """

    at: float
    window_s: float
    """Time covered, seconds; the first sample of a run covers the time since the sampler was opened."""
    one_in: int
    source_high: U64
    source_low: U64
    local_port: U16
    ttl: U8
    """TTL or hop limit as received."""
    tcp_window: U16
    options: U32
    """A number for the TCP options of each: their kinds in order, MSS and window scale; 0 where there are none."""
    more: U32
    """Kept SYNs that the row is beside its own."""
    lost: int = 0
    """Kept by the filter but not read, because the ring was full."""
    lost_ipv6: int = 0
    """How many of ``lost`` were IPv6: each family has a ring of its own."""
    of_banned: int = 1
    """Kept SYNs that one look at a banned source is taken for: the program looks at fewer of them."""
    rest: tuple[U16, U16] | None = None
    """MSS and bytes of the IP packet of each, which with the other columns are a whole header; None where sampled. Not
    recorded."""

    def __len__(self) -> int:
        return len(self.source_low)

    @property
    def count(self) -> npt.NDArray[np.int64]:
        """How many kept SYNs each row is."""
        return self.more.astype("int64") + 1

    @property
    def kept(self) -> int:
        """How many SYNs were kept, read or lost."""
        return len(self) + int(self.more.sum()) + self.lost


@dataclass(frozen=True, slots=True)
class Protected:
    """Who may never be banned, and what could not be learnt.

    ``networks`` maps each to the reason an operator is told, ``own address of eth0``.
    ``problems`` suspends automatic bans while it is not empty: not knowing whom to spare is no licence to shoot.
    """

    networks: Mapping[Network, str]
    problems: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    """Who else may have to be protected but cannot be known on this host; it is reported and suspends nothing."""
    never_cut_off: Mapping[Network, str] = field(default_factory=dict)
    """Containers of this host: their SYNs may be limited, but no automatic ban stops everything of theirs."""
    parts: KnownParts = field(default_factory=dict, compare=False)
    """The same networks by source, ``/etc/resolv.conf``: what a source said last where it cannot be read now."""
    embedding: tuple[IPv6Network, ...] = EMBEDDING
    """Prefixes whose addresses embed IPv4 ones, which are protected there too."""


@dataclass(frozen=True, slots=True)
class Readings:
    """All that one tick knows. A sensor that is not due gives None; one that failed is named in ``failures``."""

    at: float
    half_open: SocketReading | None = None
    """Sockets in ``SYN_RECV`` whose local port listens."""
    connections: SocketReading | None = None
    """Sockets in ``CONNECTED`` states and ``TIME_WAIT`` whose local port listens."""
    ended: SocketTable | None = None
    """Connections that ended since the last look at ``connections``; None where they are not listened to."""
    listeners: tuple[Listener, ...] = ()
    counters: CounterReading | None = None
    syns: SynSample | None = None
    proven: tuple[U64, U64] | None = None
    """Remote addresses (high, low) that completed a handshake lately, by other memory than the socket table."""
    port_mapping: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Local port → the ports that a ban must close for it, where that is more than itself: containers may be reached
    through several. Empty for all ports, where it is not known which lead there."""
    cpu: CpuReading | None = None
    failures: Mapping[str, str] = field(default_factory=dict)
    """Sensor name → one sentence."""


def local_ports(table: SocketTable) -> list[int]:
    """Return the distinct local ports, ascending: a tenth of the time that sorting a flood's column takes."""
    import numpy as np

    seen = np.zeros(1 << 16, np.bool_)
    seen[table.local_port] = True
    return np.flatnonzero(seen).tolist()


def empty_table() -> SocketTable:
    """Return a table of no sockets."""
    import numpy as np

    return SocketTable(
        state=np.empty(0, np.uint8),
        local_high=np.empty(0, np.uint64),
        local_low=np.empty(0, np.uint64),
        local_port=np.empty(0, np.uint16),
        remote_high=np.empty(0, np.uint64),
        remote_low=np.empty(0, np.uint64),
        remote_port=np.empty(0, np.uint16),
        recv_queue=np.empty(0, np.uint32),
        send_queue=np.empty(0, np.uint32),
        cookie=np.empty(0, np.uint64),
    )


def concatenated(tables: Sequence[SocketTable]) -> SocketTable:
    """Return the rows of all tables in order."""
    import numpy as np

    columns = (np.concatenate([getattr(table, name) for table in tables]) for name in SocketTable.__slots__)  # type: ignore[attr-defined, unused-ignore]  # slots of a dataclass
    return SocketTable(*columns)


BANNED_ONE_IN: Final = 16
"""Of SYNs under a ban the challenge program counts at most one in so many by source; a new one costs most."""
EVERY_PORT: Final = frozenset({-1})
"""Stands for all ports where ports to count are asked for, and is told by identity: the whole set would take 5 MB."""
