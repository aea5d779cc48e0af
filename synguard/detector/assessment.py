"""What the detector makes of one tick's readings; all that the decision engine sees of the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from synguard.addresses import Network
from synguard.model import Signal


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

    @property
    def fill(self) -> float:
        """Half-open sockets over backlog, 0 to about 1; 0 while the application is the one at fault."""
        return self.half_open / max(self.backlog, 1) if self.accepting else 0.0


@dataclass(frozen=True, slots=True)
class FloodFigures:
    """Host-wide figures; rates are per second since the last reading of the same sensor."""

    half_open: int = 0
    connections: int = 0
    syn_pps: float = 0.0
    completed_pps: float = 0.0
    cookies_sent_pps: float = 0.0
    cookies_received_pps: float = 0.0
    dropped_pps: float = 0.0
    accept_overflows_pps: float = 0.0

    @property
    def overflowing(self) -> bool:
        """Whether a SYN queue turned SYNs away since the last look, into cookies or into nothing."""
        return self.cookies_sent_pps > 0 or self.dropped_pps > 0


@dataclass(frozen=True, slots=True)
class Dispersion:
    """How the SYNs of the last second spread over the address space."""

    samples: int
    """SYNs or half-open sockets looked at."""
    sources: int
    """Distinct addresses among them."""
    networks: int
    """Distinct /16 or, for IPv6, /32 networks among them."""
    scattered: float
    """Share of the samples whose address came no more than twice, or made up less than a thousandth of all."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """One tick, seen whole."""

    at: float
    observations: tuple[Observation, ...] = ()
    elapsed: Mapping[Signal, float] = field(default_factory=dict)
    """Signal → seconds since it was last measured; a signal not measured in this tick is absent."""
    pressure: tuple[ListenerPressure, ...] = ()
    flood: FloodFigures = FloodFigures()
    dispersion: Dispersion | None = None
    pressed: frozenset[str] = frozenset()
    """Names of the policies one of whose listeners overflows."""
    completed: tuple[tuple[int, int], ...] | None = None
    """(high, low) of remote addresses with a completed handshake; None where connections were not read."""

    @property
    def fullest(self) -> float:
        """Fill of the fullest SYN queue; 0 where nothing listens."""
        return max((listener.fill for listener in self.pressure), default=0.0)

    @property
    def slow_application(self) -> bool:
        """Whether handshakes fail only because the application does not accept them."""
        accept_full = self.flood.accept_overflows_pps > 0 or any(not listener.accepting for listener in self.pressure)
        return accept_full and not self.flood.overflowing
