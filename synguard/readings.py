"""What sensors saw at one moment: plain values that any attack can be replayed with.

Many addresses are two columns, as in ``socket_table``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Network
from typing import TYPE_CHECKING, Final, TypeAlias

from synguard.addresses import EMBEDDING, Address, Network
from synguard.columns import U8, U16, U32, U64
from synguard.socket_table import SocketTable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

KnownParts: TypeAlias = Mapping[str, Mapping[Network, str]]
"""Source of protected networks → network → reason."""

CONTAINERS: Final = "containers"
"""The part of who is protected that is containers of this host which serve something."""


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

    ``networks`` maps each to the reason shown to an operator, ``own address of eth0``.
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


BANNED_ONE_IN: Final = 16
"""Of SYNs under a ban the challenge program counts at most one in so many by source; a new one costs most."""
EVERY_PORT: Final = frozenset({-1})
"""Stands for all ports where ports to count are asked for, and is recognised by identity: the set would take 5 MB."""
