"""The port between decisions and one place in the kernel that can hold rules."""

from __future__ import annotations

from collections.abc import Container, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable

from synguard.addresses import Network, NetworkIndex, format_network
from synguard.model import Ban, Hits, KernelBan, Scope
from synguard.packed_bans import PackedBans


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything the kernel should hold for us: the ledger's view."""

    bans: Mapping[str, Ban] = field(default_factory=dict)
    """Ban id → ban; only bans that still stand."""
    allow: frozenset[Network] = frozenset()
    """Protected and allow-listed: returned first, before every drop."""
    proven: frozenset[Network] = frozenset()
    """Proven peers inside a wanted prefix ban of scope ``new``: returned before the ``new`` drops."""

    @classmethod
    def of(cls, bans: Iterable[Ban], protected: Iterable[Network], proven: Iterable[Network], now: datetime) -> Desired:
        """Return what the kernel should hold for these bans at ``now``.

        Dry-run and expired bans are left out. Protected parties are all let through, but for those that a
        person's forced ban names; of the proven peers those that ``lets_through`` names.
        """
        active_bans = {ban.id: ban for ban in bans if ban.active(now) and not ban.dry_run}
        forced = NetworkIndex(ban.target for ban in active_bans.values() if ban.forced)
        peers = tuple(proven)
        new = PackedBans(ban for ban in active_bans.values() if peers and ban.scope is Scope.NEW)
        return cls(
            bans=active_bans,
            allow=frozenset(party for party in protected if not forced.overlapping(party)),
            proven=frozenset(peer for peer in peers if lets_through(new.around(peer))),
        )


def lets_through(around: Iterable[Ban]) -> bool:
    """Return whether a proven peer is to pass the bans around it that stop new connections.

    It passes where an automatic ban closes ports to all but served clients, unless a person's ban, or one on all ports,
    refuses these too. The kernel's exception is for all ports of a peer. Automatic bans that refuse served clients on
    some ports (``Ban.refuses_proven``) are asked before it, and go on doing so there.
    """
    new = [ban for ban in around if ban.scope is Scope.NEW and not ban.refuses_proven]
    return bool(new) and not any(ban.refuses_served for ban in new)


class Bypass(str):
    """A phrase for a foreign rule that lets packets past ours."""

    __slots__ = ("version",)
    version: int
    """The IP version of those packets."""

    @classmethod
    def of(cls, text: str, version: int) -> Bypass:
        """Return the phrase with the IP version that it is about."""
        made = cls(text)
        made.version = version
        return made


@dataclass(frozen=True, slots=True)
class Actual:
    """Everything the kernel holds of ours: one full read-back."""

    bans: Mapping[str, KernelBan] = field(default_factory=dict)
    allow: frozenset[Network] = frozenset()
    proven: frozenset[Network] = frozenset()
    intact: bool = False
    """Whether every chain, jump, set and fixed rule of ours is there and in order."""
    missing: tuple[str, ...] = ()
    """What of the frame is missing or out of place, one phrase each; empty when ``intact``."""
    foreign: tuple[str, ...] = ()
    """Entries in our chains that are not ours; reported, never removed."""
    outdated: bool = False
    """Whether sets of ours are to be exchanged for new ones: what they hold is not among ``bans``, yet stopped."""

    @property
    def stopped(self) -> frozenset[Network]:
        """Targets that bans of ours stop now: members of sets without their rules stop no packet."""
        return frozenset(held.target for held in self.bans.values()) if self.intact else frozenset()


@dataclass(frozen=True, slots=True)
class Delta:
    """The difference to apply. ``remove`` holds what the plane itself read, so that it can find it again."""

    add: tuple[Ban, ...] = ()
    remove: tuple[KernelBan, ...] = ()
    allow_add: frozenset[Network] = frozenset()
    allow_remove: frozenset[Network] = frozenset()
    proven_add: frozenset[Network] = frozenset()
    proven_remove: frozenset[Network] = frozenset()
    frame: bool = False
    """Build or mend chains, jumps, sets and fixed rules first."""

    def __bool__(self) -> bool:
        return bool(
            self.add
            or self.remove
            or self.allow_add
            or self.allow_remove
            or self.proven_add
            or self.proven_remove
            or self.frame
        )


@dataclass(frozen=True, slots=True)
class Stopped:
    """What a list of bans tells of the kernel: whom it stops, and what it counted."""

    targets: Container[str] = frozenset()
    """Targets of ours as ``format_network`` writes them; none while a part of the frame is missing."""
    hits: Mapping[str, Hits] = field(default_factory=dict)
    """Ban id → what the kernel counted against it; bans that met no packet are absent."""
    missing: tuple[str, ...] = ()
    """What of the frame is missing, as in ``Actual``."""

    @classmethod
    def of(cls, actual: Actual) -> Stopped:
        """Return that part of a read-back."""
        hits = {ban_id: one.hits for ban_id, one in actual.bans.items() if one.hits.packets or one.hits.passed}
        return cls(frozenset(map(format_network, actual.stopped)), hits, actual.missing)


@runtime_checkable
class BriefPlane(Protocol):
    """A plane that can tell what it stops without a ban of it becoming an object."""

    def stopped(self) -> Stopped:
        """Return what it stops.

        Raises:
            PlaneError: The kernel could not be asked.
        """
        raise NotImplementedError

    def stopped_of(self, bans: Iterable[Ban]) -> Stopped:
        """Return which of these it stops, asking for these alone; counts are not read.

        Raises:
            PlaneError: The kernel could not be asked.
        """
        raise NotImplementedError


@runtime_checkable
class PatientPlane(Protocol):
    """A plane that can also read back without making its caller wait for all of it."""

    def read_in_pieces(self) -> Generator[None, None, Actual]:
        """Read back all that is ours as columns, pausing again and again; each set is seen at one moment in between.

        Raises:
            PlaneError: The kernel could not be asked.
        """
        raise NotImplementedError


class Plane(Protocol):
    """One place in the kernel, or a stand-in for it; both pass tests/contract/.

    A plane keeps no wishes: ``Reconciler`` compares, a plane reads and applies.
    """

    @property
    def name(self) -> str:
        """``iptables-sets``, ``nftables``, ``dry-run``."""

    @property
    def show_command(self) -> str:
        """The command that shows an operator our rules."""

    @property
    def ceiling(self) -> int:
        """How many members one of its places may hold."""

    @property
    def ceiling_key(self) -> str:
        """The configuration's key of the ceiling."""

    def place(self, ban: Ban | KernelBan) -> tuple[str, int]:
        """Return where the kernel holds a ban, and how much of the ceiling it takes there."""

    def check(self) -> None:
        """Return if the plane works here.

        Raises:
            PlaneUnavailableError: It cannot work on this host; says what is missing and how to get it.
            NotPermittedError: The process lacks CAP_NET_ADMIN or CAP_NET_RAW.
        """

    def read(self) -> Actual:
        """Read back all that is ours, counters included.

        Raises:
            PlaneError: The kernel could not be asked.
        """

    def apply(self, change: Delta) -> None:
        """Make the change: sets before the rules that use them, rules gone before their sets.

        Applying the same change twice leaves the kernel as once. An empty change makes no call.

        Raises:
            ChangedUnderneathError: Others kept changing the table through every retry.
            PlaneError: The kernel refused; what was applied so far shows in the next ``read``.
        """

    def flush(self) -> None:
        """Remove everything of ours and nothing else; needs no ledger and no config."""
