"""The project's words as small frozen types; see docs/architecture.md for how they travel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from synguard.addresses import Network


class Mode(StrEnum):
    """Whether decisions reach the kernel."""

    DRY_RUN = "dry-run"
    ENFORCE = "enforce"


class Scope(StrEnum):
    """How much of a target's traffic a ban stops."""

    NEW = "new"
    """TCP SYNs only: all that forgeable evidence may ever buy."""
    ALL = "all"
    """Every packet, existing connections too: needs handshake-proven evidence, or a person's order."""


class Action(StrEnum):
    """What happens to a stopped packet."""

    DROP = "drop"
    REJECT = "reject"


class BanOrder(StrEnum):
    """What lists of bans are sorted by; times soonest first, numbers largest first."""

    EXPIRES = "expires"
    LEFT = "left"
    CREATED = "created"
    PACKETS = "packets"
    SCORE = "score"
    TARGET = "target"


class Origin(StrEnum):
    """Who asked for a ban."""

    AUTO = "auto"
    MANUAL = "manual"
    CROWDSEC = "crowdsec"
    """A decision of the CrowdSec local API that this host follows."""


class Signal(StrEnum):
    """What is measured of a source or prefix."""

    HALF_OPEN = "half_open"
    """Sockets in ``SYN_RECV``."""
    SYN_RATE = "syn_rate"
    """SYNs a second, sampled on the wire and scaled."""
    CONNECTIONS = "connections"
    """Sockets past the handshake and not yet in ``TIME_WAIT``."""
    CONNECTION_RATE = "connection_rate"
    """Completed handshakes a second."""

    @property
    def forgeable(self) -> bool:
        """Whether a sender who lies about its address can raise this signal."""
        return self in (Signal.HALF_OPEN, Signal.SYN_RATE)

    @property
    def unit(self) -> str:
        """The unit as written behind a value; counts have none."""
        return "/s" if self in (Signal.SYN_RATE, Signal.CONNECTION_RATE) else ""


class VerdictKind(StrEnum):
    """What the decision engine says of a target."""

    BAN = "ban"
    WATCH = "watch"
    SPARE = "spare"
    SPOOFED = "spoofed"


class Phase(StrEnum):
    """Where an incident stands."""

    CALM = "calm"
    ATTACK = "attack"
    COOLING = "cooling"


MOVES: Final[Mapping[Phase, frozenset[Phase]]] = {
    Phase.CALM: frozenset({Phase.ATTACK}),
    Phase.ATTACK: frozenset({Phase.COOLING}),
    Phase.COOLING: frozenset({Phase.CALM, Phase.ATTACK}),
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """One signal of one target against its limit, over the local ports it concerns."""

    signal: Signal
    value: float
    limit: float
    ports: tuple[int, ...] = ()
    sources: int = 1
    """Distinct sources behind the value; 1 for a single source."""
    error: float = 0.0
    """Half the width of the 95 % interval around ``value``; 0 where nothing is sampled."""

    def __str__(self) -> str:
        spread = f" ±{self.error:.0f}" if self.error >= 1 else ""
        crowd = f" from {self.sources} sources" if self.sources > 1 else ""
        return f"{self.signal} {self.value:.0f}{spread}{self.signal.unit} / {self.limit:g}{crowd}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the engine says of one target at one moment, and why.

    ``score`` runs from 0 up, with 100 the point of action. ``reason`` is one sentence for people.
    """

    kind: VerdictKind
    target: Network | None
    """None where the verdict is about a whole flood, as ``spoofed`` is."""
    score: float
    policy: str
    reason: str
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Ban:
    """One target that is to be stopped, how, from when and until when."""

    id: str
    """Short and unique, ``[a-z0-9-]{1,32}``; it stands in the kernel object's comment."""
    target: Network
    scope: Scope
    action: Action
    origin: Origin
    policy: str
    reason: str
    created_at: datetime
    expires_at: datetime | None
    """Aware, UTC; None only for a person's permanent ban."""
    ports: tuple[int, ...] = ()
    """Local TCP ports that a ``new`` ban closes; empty for all of them. Always empty for ``all``."""
    score: float = 0.0
    times: int = 1
    """How many times the target has been banned within its policy's memory, this ban included."""
    evidence: tuple[Evidence, ...] = ()
    dry_run: bool = False
    """Would have been; never reaches the kernel."""
    forced: bool = False
    """A person insisted although the target covers protected parties, who then lose their way through."""

    def __post_init__(self) -> None:
        if self.origin is Origin.AUTO and self.expires_at is None:
            raise ValueError("an automatic ban must expire")
        if self.scope is Scope.ALL and self.ports:
            raise ValueError("a ban of scope all names no ports")

    def active(self, now: datetime) -> bool:
        """Return whether the ban still stands at ``now``."""
        return self.expires_at is None or now < self.expires_at

    def left(self, now: datetime) -> timedelta | None:
        """Return the time until expiry, never negative; None for a permanent ban."""
        return None if self.expires_at is None else max(self.expires_at - now, timedelta(0))


@dataclass(frozen=True, slots=True)
class Hits:
    """What the kernel counted against one ban since it was inserted there."""

    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Incident:
    """One attack from onset to calm."""

    id: str
    phase: Phase
    kind: str
    """``syn-flood``, ``spoofed-flood`` or ``connection-flood``; the gravest seen so far."""
    started_at: datetime
    ended_at: datetime | None = None
    peak_half_open: int = 0
    peak_syn_pps: float = 0.0
    peak_connections: int = 0
    sources: int = 0
    """The most distinct sources over a limit at one moment."""
    bans: int = 0
    spared: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """A ban as one plane holds it: what is read back, recognised by its comment."""

    ban_id: str
    target: Network
    scope: Scope
    action: Action
    ports: tuple[int, ...] = ()
    expires_at: datetime | None = None
    hits: Hits = field(default_factory=lambda: Hits(0, 0))

    def active(self, now: datetime) -> bool:
        """Return whether the kernel still holds it at ``now``, as far as its expiry goes."""
        return self.expires_at is None or now < self.expires_at
