"""A person's orders: look at what a ban would hit, refuse what is unsafe, then ledger, then kernel.

Looking is pure (``assess`` and ``refusals``); ``Hand`` writes. Nothing is half done: every target of an order is
looked at before any is banned, and bans that the kernel did not take are ended in the ledger again.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Final

from synguard.addresses import (
    WIDEST_BY_VERSION,
    Address,
    Network,
    covers,
    format_network,
    host_network,
    overlaps,
    parse_address,
)
from synguard.errors import PlaneError, RefusedError
from synguard.model import Action, Ban, Origin, Scope
from synguard.units import format_duration

if TYPE_CHECKING:
    from synguard.enforcer.plane import Plane
    from synguard.enforcer.reconciler import Outcome, Reconciler
    from synguard.ledger.ledger import Ledger
    from synguard.readings import Protected, SocketTable
    from synguard.report.peers import Presence

POLICY: Final = "manual"
"""The policy that a person's bans name."""

LOOPBACK: Final[tuple[Network, ...]] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


@dataclass(frozen=True, slots=True)
class Order:
    """What a person asks for, before anything is looked at."""

    targets: tuple[Network, ...]
    lasts_s: float | None
    """None for a permanent ban."""
    scope: Scope = Scope.ALL
    action: Action = Action.DROP
    ports: tuple[int, ...] = ()
    reason: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Who and what is there at the moment of an order."""

    protected: Protected
    own: frozenset[Network] = frozenset()
    """This host's own addresses: never banned, whoever insists."""
    operator: Address | None = None
    """Where the person who orders is logged in from; None at the console."""
    standing: tuple[Ban, ...] = ()
    sockets: SocketTable | None = None
    """Every TCP socket; None where they could not be read."""


@dataclass(frozen=True, slots=True)
class Impact:
    """What a ban of one target would hit."""

    target: Network
    sockets: Mapping[str, int] = field(default_factory=dict)
    """TCP state → sockets whose remote end is in the target; states with none are absent."""
    peers: int = 0
    """Distinct addresses in the target that hold a connection with a completed handshake."""
    protected: Mapping[Network, str] = field(default_factory=dict)
    """Protected parties inside the target or covering it → why they are protected."""
    overlapping: tuple[Ban, ...] = ()
    """Bans that stand already and share addresses with the target."""
    refusals: tuple[str, ...] = ()
    """Why not, one clause each."""
    absolute: bool = False
    """Whether not even ``--force`` may."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What an order came to."""

    bans: tuple[Ban, ...]
    outcome: Outcome


def look_around(protected: Protected, standing: Iterable[Ban]) -> tuple[Surroundings, str]:
    """Return who and what is there now, and one sentence where live connections could not be read, else nothing."""
    from synguard.errors import SensorError
    from synguard.readings import TcpState
    from synguard.sensors.protected import own_addresses
    from synguard.sensors.sockets import Sockets

    sensor = Sockets()
    table, trouble = None, ""
    try:
        table = sensor.tcp(state for state in TcpState if state is not TcpState.LISTEN)
    except SensorError as error:
        trouble = f"live connections are not known: {error}"
    finally:
        sensor.close()
    around = Surroundings(
        protected=protected,
        own=frozenset(own_addresses()),
        operator=operator_address(os.environ),
        standing=tuple(standing),
        sockets=table,
    )
    return around, trouble


def operator_address(environment: Mapping[str, str]) -> Address | None:
    """Return where the person at the keyboard is logged in from by SSH, or None at the console.

    sshd sets ``SSH_CONNECTION="192.0.2.7 50022 192.0.2.1 22"``; ``sudo`` drops it unless told to keep it.
    """
    words = (environment.get("SSH_CONNECTION") or environment.get("SSH_CLIENT") or "").split()
    try:
        return parse_address(words[0]) if words else None
    except ValueError:
        return None


def assess(order: Order, around: Surroundings) -> tuple[Impact, ...]:
    """Return what each target of the order would hit, and why it may not, if so."""
    return tuple(_impact(target, around) for target in order.targets)


def refuse_unsafe(order: Order, impacts: Iterable[Impact]) -> None:
    """Return if the order may be carried out.

    Raises:
        RefusedError: A target is this host itself or loopback, or, without force, protected or absurdly wide.
    """
    unsafe = [impact for impact in impacts if impact.refusals and (impact.absolute or not order.force)]
    if unsafe:
        reasons = [f"{format_network(one.target)} is refused: {', '.join(one.refusals)}" for one in unsafe]
        advice = "" if any(one.absolute for one in unsafe) else ", unless --force insists"
        raise RefusedError("\n".join(reasons) + f"; nothing was banned{advice}")


def bans_for(order: Order, impacts: Iterable[Impact], now: datetime) -> tuple[Ban, ...]:
    """Return the bans that the order asks for; forced where force is what allows them."""
    expires_at = None if order.lasts_s is None else now + timedelta(seconds=order.lasts_s)
    return tuple(
        Ban(
            id=new_id(),
            target=impact.target,
            scope=order.scope,
            action=order.action,
            origin=Origin.MANUAL,
            policy=POLICY,
            reason=order.reason or "by hand",
            created_at=now,
            expires_at=expires_at,
            ports=order.ports,
            forced=order.force and bool(impact.refusals),
        )
        for impact in impacts
    )


def new_id() -> str:
    """Return an id for a person's ban; the ``m`` keeps it from ever reading as an address."""
    return f"m{secrets.token_hex(4)}"


class Hand:
    """Carries out a person's orders: ledger first, then the same reconciler that the agent runs."""

    def __init__(
        self, ledger: Ledger, plane: Plane, reconciler: Reconciler, protected: Protected, utcnow: Callable[[], datetime]
    ) -> None:
        self._ledger = ledger
        self._plane = plane
        self._reconciler = reconciler
        self._protected = protected
        self._utcnow = utcnow

    def ban(self, bans: Sequence[Ban]) -> Settled:
        """Put the bans into ledger and kernel.

        Raises:
            PlaneError: The kernel did not take them; the ledger is back to what it held before.
            LedgerError: They could not be saved; the kernel was not touched.
        """
        self._plane.check()
        now = self._utcnow()
        before = self._ledger.active_bans(now)
        self._ledger.add_bans(bans)
        try:
            outcome = self._settle()
        except BaseException as error:  # an interrupted order must not stay half done either
            self._take_back(bans, before, str(error) or type(error).__name__)
            raise
        for ban in bans:
            self._note("ban", f"{describe(ban)}: {ban.reason}")
        return Settled(tuple(bans), outcome)

    def lift(self, bans: Sequence[Ban], why: str) -> Settled:
        """End the bans in the ledger and take them out of the kernel.

        Raises:
            PlaneError: The kernel did not let go of them; the ledger has them ended, so the next change retries.
        """
        self._plane.check()
        self._ledger.end_bans([ban.id for ban in bans], self._utcnow(), why)
        outcome = self._settle()
        for ban in bans:
            self._note("unban", f"{describe(ban)}, {why}")
        return Settled(tuple(bans), outcome)

    def extend(self, bans: Sequence[Ban], by_s: float, longest_s: float) -> Settled:
        """Let the bans last ``by_s`` longer than they would, but no longer than ``longest_s`` from now.

        Raises:
            PlaneError: The kernel did not take the new expiry; the ledger holds it, so the next change retries.
        """
        self._plane.check()
        now = self._utcnow()
        longer = [
            _extended(ban, by_s, now + timedelta(seconds=longest_s)) for ban in bans if ban.expires_at is not None
        ]
        for ban in longer:
            self._ledger.change_expiry(ban.id, ban.expires_at, now)
        outcome = self._settle()
        for ban in longer:
            self._note("extend", f"{describe(ban)}, {format_duration(by_s)} longer by hand")
        return Settled(tuple(longer), outcome)

    def _settle(self) -> Outcome:
        """Bring the kernel to what the ledger holds; the proven peers that a running agent let through stay."""
        from synguard.enforcer.plane import Wanted

        now = self._utcnow()
        proven = self._plane.read().proven
        bans = self._ledger.active_bans(now).values()
        return self._reconciler.reconcile(Wanted.of(bans, self._protected.networks, proven, now), now)

    def _take_back(self, bans: Sequence[Ban], before: Mapping[str, Ban], why: str) -> None:
        """End bans that the kernel did not take, and let stand again what they replaced."""
        now = self._utcnow()
        self._ledger.end_bans([ban.id for ban in bans], now, f"not applied: {why}")
        still = self._ledger.active_bans(now)
        replaced = [replace(ban, id=new_id()) for ban in before.values() if ban.id not in still and ban.active(now)]
        if replaced:
            self._ledger.add_bans(replaced)
        with suppress(PlaneError):  # the kernel may hold a part of the order; what it refused first is told
            self._settle()

    def _note(self, kind: str, text: str) -> None:
        self._ledger.record_action(self._utcnow(), kind, text)


def describe(ban: Ban) -> str:
    """Return a ban in a few words: ``192.0.2.0/24 (all, drop) until 2026-03-01T12:00:00Z``."""
    until = "for good" if ban.expires_at is None else f"until {ban.expires_at:%Y-%m-%dT%H:%M:%SZ}"
    return f"{format_network(ban.target)} ({ban.scope}, {ban.action}) {until}"


def _extended(ban: Ban, by_s: float, latest: datetime) -> Ban:
    if ban.expires_at is None:
        return ban
    return replace(ban, expires_at=max(ban.expires_at, min(ban.expires_at + timedelta(seconds=by_s), latest)))


def _impact(target: Network, around: Surroundings) -> Impact:
    own = sorted({format_network(one) for one in (*around.own, *LOOPBACK) if overlaps(one, target)})
    protected = {party: why for party, why in around.protected.networks.items() if overlaps(party, target)}
    refusals: list[str] = []
    if own:
        refusals.append(f"it is or holds this host's own {_some(own)}, which is never banned")
    else:
        refusals += [f"{format_network(party)} is protected ({why})" for party, why in _first(protected.items())]
        if around.operator is not None and covers(target, host_network(around.operator)):
            refusals.append(f"you are logged in from {around.operator}")
    widest = WIDEST_BY_VERSION[target.version]
    if target.prefixlen < widest:
        refusals.append(f"anything wider than /{widest} is absurd as a ban")
    there = _presence(target, around.sockets)
    return Impact(
        target=target,
        sockets=there.sockets,
        peers=there.peers,
        protected=protected,
        overlapping=tuple(ban for ban in around.standing if overlaps(ban.target, target)),
        refusals=tuple(refusals),
        absolute=bool(own),
    )


def _first(parties: Iterable[tuple[Network, str]], at_most: int = 5) -> list[tuple[Network, str]]:
    return list(parties)[:at_most]


def _some(words: Sequence[str], at_most: int = 3) -> str:
    rest = f" and {len(words) - at_most} more" if len(words) > at_most else ""
    return ", ".join(words[:at_most]) + rest


def _presence(target: Network, table: SocketTable | None) -> Presence:
    from synguard.report.peers import Presence, presence

    return Presence({}, 0) if table is None else presence(table, target)
