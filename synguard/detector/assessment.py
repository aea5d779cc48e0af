"""What the detector makes of one tick's readings; all that the decision engine sees of the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from synguard.addresses import Network
from synguard.columns import U64
from synguard.detector.members import Crowd
from synguard.model import Signal
from synguard.readings import SynSample

SHORT: Final = 64
"""Places of a SYN queue below which shares say little: three single SYNs of a scan are half of ``listen(5)``."""
FEW: Final = 32
"""Half-open sockets that a host has at any time, from scans and from clients that are far away."""
STRAINED: Final = 0.25
"""Fill of a SYN queue from which SYNs are sampled."""
ATTACKED_FILL: Final = 0.5
"""Fill of a SYN queue from which its port is named in messages, and its flood is worth a route upstream."""
OVERFLOWS_PPS: Final = 10.0
"""SYNs turned away a second from which that is a flood; one that sends fewer fills a queue, and is seen by that."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One signal of one target, measured now and worth a score."""

    policy: str
    target: Network
    signal: Signal
    value: float
    limit: float
    """As it applies now, lowered where a listener is pressed."""
    ports: tuple[int, ...]
    sources: int = 1
    """Distinct sources behind the value that do not answer for themselves; 1 for a single source."""
    addresses: int = 1
    """Distinct single addresses seen in the target."""
    variance: float = 0.0
    """Of ``value``, from sampling; 0 where everything was counted."""
    alike: float | None = None
    """Share of its SYNs that bear the header which most of the flood's networks send; None where there is no such."""


@dataclass(frozen=True, slots=True)
class ListenerPressure:
    """How full the SYN queue of one local port and family is, over all the sockets that listen there."""

    port: int
    version: int
    """IP version of the listener; 6 may take IPv4 too."""
    process: str
    half_open: int
    backlog: int
    accept_queue: int
    accepting: bool
    """False while the accept queue is full: then half-open sockets pile up because the application is slow."""
    censored: bool
    """The SYN queue is full: the count no longer grows with the flood."""
    namespace: str = ""
    """The other network namespace that it lives in; empty for ours."""

    @property
    def family(self) -> str:
        """``ipv4`` or ``ipv6``."""
        return f"ipv{self.version}"

    @property
    def overwhelmed(self) -> bool:
        """Whether the SYN queue is full, and of more than what scans leave in the shortest one."""
        return self.censored and self.half_open >= FEW

    @property
    def attacked(self) -> bool:
        """Whether the SYN queue is full, or full enough for its port to count as attacked."""
        return self.censored or self.fill >= ATTACKED_FILL

    @property
    def strain(self) -> float:
        """``fill`` for decisions: a queue shorter than `SHORT` counts as if it took so many."""
        return self.half_open / max(self.backlog, SHORT) if self.accepting else 0.0

    @property
    def fill(self) -> float:
        """Half-open sockets over backlog, 0 to about 1; 0 while the application is the one at fault."""
        return self.half_open / max(self.backlog, 1) if self.accepting else 0.0


@dataclass(frozen=True, slots=True)
class HandshakeRates:
    """How handshakes fared between two readings of the kernel's counters, per second."""

    completed_pps: float = 0.0
    cookies_sent_pps: float = 0.0
    cookies_received_pps: float = 0.0
    dropped_pps: float = 0.0
    accept_overflows_pps: float = 0.0


@dataclass(frozen=True, slots=True)
class FloodFigures(HandshakeRates):
    """Host-wide figures; rates are per second since the last reading of the same sensor."""

    half_open: int = 0
    connections: int = 0
    syn_pps: float = 0.0
    held_pps: float = 0.0
    """Of those, from banned sources: sampled before the firewall drops them."""
    counted: bool = False
    """Whether the kernel's counters were ever read; where not, rates of 0 say nothing."""
    unseen_pps: float = 0.0
    """Handshakes a second that completed and that no look at the socket table has shown."""
    overflow_pps: float = 0.0
    """SYNs turned away for good in the last second: dropped, or answered with a cookie that did not come back."""

    @property
    def overflowing(self) -> bool:
        """Whether so many SYNs are turned away that it is no accident."""
        return self.overflow_pps >= OVERFLOWS_PPS


@dataclass(frozen=True, slots=True)
class Handshakes(HandshakeRates):
    """How the handshakes of the last second fared."""

    suffering_s: float = 0.0
    """How long SYN queues have been full or turned SYNs away, without a pause."""
    resets_pps: float = 0.0
    """Half-open sockets that a reset ended: hosts that were answered and had not asked."""
    refused_pps: float = 0.0
    """Packets that were answered with a reset: to ports that nothing listens on, or to no connection."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What the SYNs' headers say, one SYN a network: so no single sender tips it, however loud."""

    share: float
    """Share of the networks that send the commonest combination of TTL, window and TCP options."""
    ttl: int
    """Of that combination."""
    tcp_window: int
    options: int
    odd_ttl: float
    """Share of them whose TTL no system sends and no path of the Internet leaves over."""

    @property
    def header(self) -> int:
        """The commonest combination as one number, as ``fingerprint.headers`` makes them."""
        return self.ttl << 48 | self.tcp_window << 32 | self.options


@dataclass(frozen=True, slots=True)
class Dispersion:
    """How the SYNs of the last second spread over the address space, but for those of banned sources."""

    sources: int
    """Distinct addresses among the SYNs or half-open sockets looked at."""
    networks: int
    """Distinct /16 or, for IPv6, /32 networks among them."""
    scattered: float
    """Share of the samples whose address came no more than twice, or made up less than a thousandth of all."""
    pps: float = 0.0
    """SYNs a second that the samples stand for; 0 for half-open sockets."""
    fingerprint: Fingerprint | None = None
    """None for half-open sockets, of which the kernel keeps no header."""
    ports: tuple[int, ...] = ()
    """The local ports that carry a tenth of the samples or more, and the heaviest that carry nine tenths, ascending."""
    heavy_ports: tuple[int, ...] = ()
    """Those of them that carry a tenth or more each."""
    versions: tuple[int, ...] = ()
    """The IP versions that carry a tenth or more, or much by itself."""


@dataclass(frozen=True, slots=True)
class Assessment:  # wide: all that one tick measured, a record of parts
    """One tick, seen whole."""

    at: float
    observations: tuple[Observation, ...] = ()
    elapsed: Mapping[Signal, float] = field(default_factory=dict)
    """Signal → seconds since it was last measured; a signal not measured in this tick is absent."""
    pressure: tuple[ListenerPressure, ...] = ()
    flood: FloodFigures = FloodFigures()
    dispersion: Dispersion | None = None
    unsampled_pps: float = 0.0
    """SYNs a second that the kernel turns away and that sampling does not show; 0 where it shows them."""
    handshakes: Handshakes = Handshakes()
    bottleneck: str = ""
    """Why a CPU is the bottleneck of receiving packets, one clause; empty while none is."""
    pressed: frozenset[int] = frozenset()
    """Local ports whose SYN queue overflows, or did a moment ago."""
    crowded: frozenset[int] = frozenset()
    """Local ports that accept no others, or turn them away, while few sources hold most of their connections."""
    held_by_few: bool = False
    """Whether few sources hold most of the connections of a port that has many."""
    port_mapping: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Local port → the ports that a ban must close for it, where that is more than itself; empty for all ports."""
    recent_syns: tuple[SynSample, ...] = ()
    """The samples of the last second."""
    crowds: Mapping[Signal, Crowd] = field(default_factory=dict)
    """Signal → all that it counts at the moment, to ask who is behind a sum; SYNs are those of the last second."""
    completed: tuple[U64, U64] | None = None
    """Remote addresses (high, low) with a completed handshake; None where connections were not read."""

    @property
    def fullest(self) -> float:
        """Strain of the fullest SYN queue; 0 where nothing listens."""
        return strain_of(self.pressure)

    @property
    def slow_application(self) -> bool:
        """Whether handshakes fail only because the application does not accept them."""
        accept_full = self.flood.accept_overflows_pps > 0 or any(not listener.accepting for listener in self.pressure)
        return accept_full and not self.flood.overflowing


def strain_of(pressure: Iterable[ListenerPressure]) -> float:
    """Return the strain of the fullest SYN queue; 0 where nothing listens."""
    return max((listener.strain for listener in pressure), default=0.0)
