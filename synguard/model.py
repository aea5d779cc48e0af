"""The project's words as small frozen types; see docs/architecture.md for how they travel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from synguard.addresses import Network
from synguard.syn_header import SynHeader


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
    """What happens to a packet of a banned target."""

    DROP = "drop"
    REJECT = "reject"
    CHALLENGE = "challenge"
    """SYNs are answered with SYN cookies at the interface: a source that holds its address connects all the same."""
    LIMIT = "limit"
    """Challenged, and a few SYNs a second of the target are answered at most; the rest is dropped at the interface."""

    @property
    def challenges(self) -> bool:
        """Whether a source that holds its address still connects."""
        return self is Action.CHALLENGE or self is Action.LIMIT


FIREWALL_ACTIONS: Final = (Action.DROP, Action.REJECT)
"""What the planes of the firewall carry out; the rest is the challenge program's."""


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


class Cause(StrEnum):
    """Why a target over its limit is spared; what programs read where people read the reason."""

    NONE = ""
    PROTECTED = "protected"
    CONTAINER = "container"
    PROVEN = "proven"
    CROWD = "crowd"
    FORGED_SHARE = "forged-share"
    HARMLESS = "harmless"


class FloodKind(StrEnum):
    """What is said of the whole flood."""

    NONE = ""
    SPOOFED = "spoofed"
    SLOW_APPLICATION = "slow application"
    CLOSED_PORT = "closed port"
    RESETS = "resets"


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
        spread = f" ±{self.error:,.0f}" if self.error >= 1 else ""
        crowd = f" from {self.sources:,} sources" if self.sources > 1 else ""
        return f"{self.signal} {self.value:,.0f}{spread}{self.signal.unit} / {self.limit:,g}{crowd}"


ON_HANDSHAKES: Final = (Evidence(Signal.CONNECTIONS, 0.0, 0.0),)
"""Stands for evidence of which only that is known: it takes completed handshakes."""


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
    cause: Cause = Cause.NONE


NEVER: Final = datetime.max.replace(tzinfo=UTC)
"""Later than any time: when what has no end would end."""


@dataclass(frozen=True, slots=True)
class Ban:  # wide: one record, a field a column of the ledger
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
    """Local TCP ports that a ``new`` ban concerns; empty for all of them. Always empty for ``all``."""
    score: float = 0.0
    times: int = 1
    """How many times the target has been banned within its policy's memory, this ban included."""
    evidence: tuple[Evidence, ...] = ()
    dry_run: bool = False
    """Would have been; never reaches the kernel."""
    forced: bool = False
    """A person insisted although the target covers protected parties, who then lose their way through."""
    header: SynHeader | None = None
    """Only SYNs with this header are dropped; None for all of them."""

    def __post_init__(self) -> None:
        if self.scope is not Scope.NEW and self.at_interface:
            raise ValueError("challenges, and drops of one header, are about new connections: scope new")
        if self.header is not None and self.action is not Action.DROP:
            raise ValueError("a ban of one header drops")
        if self.origin is Origin.AUTO and self.expires_at is None:
            raise ValueError("an automatic ban must expire")
        if self.scope is Scope.ALL and self.ports:
            raise ValueError("a ban of scope all names no ports")

    @property
    def at_interface(self) -> bool:
        """Whether the challenge program carries it out; if not, the firewall."""
        return self.action.challenges or self.header is not None

    @property
    def effect(self) -> str:
        """What is done to a packet, in a word or two."""
        return str(self.action) if self.header is None else "drop header"

    @property
    def standing(self) -> str:
        """How the target fares while the ban stands: ``banned``, ``challenged``, or ``would ban`` in a dry run."""
        if self.header is not None:
            done, would = "header dropped", "would drop header"
        elif self.action.challenges:
            done, would = "challenged", "would challenge"
        else:
            done, would = "banned", "would ban"
        return would if self.dry_run else done

    @property
    def forgeable(self) -> bool:
        """Whether everything that speaks for the ban could be forged; False where no evidence is kept."""
        return bool(self.evidence) and all(item.signal.forgeable for item in self.evidence)

    @property
    def refuses_served(self) -> bool:
        """Whether served clients have no way through it though it stops new connections only.

        One that a person asked for refuses them, and one on evidence that needs completed handshakes: theirs.
        """
        proven = any(not item.signal.forgeable for item in self.evidence)
        return self.scope is Scope.NEW and (self.origin is Origin.MANUAL or proven)

    @property
    def refuses_proven(self) -> bool:
        """Whether it is asked before the exceptions of proven peers, so that these are refused on its ports alone."""
        return self.origin is Origin.AUTO and bool(self.ports) and self.refuses_served

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
    """Packets that went no further: dropped, rejected, or SYNs answered at the interface."""
    bytes: int
    answered: int = 0
    """Of ``packets``, the SYNs that were answered with a cookie."""
    passed: int = 0
    """SYNs of a challenged target that were let through to the listener; not among ``packets``."""

    def __add__(self, other: Hits) -> Hits:
        return Hits(
            self.packets + other.packets,
            self.bytes + other.bytes,
            self.answered + other.answered,
            self.passed + other.passed,
        )


NO_HITS: Final = Hits(0, 0)
"""One for all bans that met no packet, of which there may be very many."""


@dataclass(frozen=True, slots=True)
class KernelBan:
    """A ban as one plane holds it: what is read back, recognised by its comment."""

    ban_id: str
    target: Network
    scope: Scope
    action: Action
    ports: tuple[int, ...] = ()
    expires_at: datetime | None = None
    hits: Hits = NO_HITS
    header: SynHeader | None = None
    remains: int = 0
    """Number of these members among those that interrupted changes left of the ban; 0 for its own."""
    refuses_proven: bool = False
    """Whether it is held where it is asked before the exceptions of proven peers."""

    @property
    def key(self) -> str:
        """What it is held under: the id, or for remains the id, ``#`` and their number."""
        return f"{self.ban_id}#{self.remains}" if self.remains else self.ban_id

    @property
    def at_interface(self) -> bool:
        """Whether the challenge program holds it."""
        return self.header is not None or self.action not in FIREWALL_ACTIONS

    def active(self, now: datetime) -> bool:
        """Return whether the kernel still holds it at ``now``, as far as its expiry goes."""
        return self.expires_at is None or now < self.expires_at
