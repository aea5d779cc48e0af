"""A person's orders: what a ban would hit, and what is unsafe and refused.

Nothing here writes: ``look_around`` reads, the rest are functions of what it gives. ``agent/hand.py`` carries out.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
from synguard.errors import RefusedError
from synguard.model import Action, Ban, Origin, Scope

if TYPE_CHECKING:
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


def describe(ban: Ban) -> str:
    """Return a ban in a few words: ``192.0.2.0/24 (all, drop) until 2026-03-01T12:00:00Z``."""
    until = "for good" if ban.expires_at is None else f"until {ban.expires_at:%Y-%m-%dT%H:%M:%SZ}"
    return f"{format_network(ban.target)} ({ban.scope}, {ban.action}) {until}"


def impact_lines(impact: Impact, order: Order) -> list[str]:
    """Return what a ban of one target would hit, a sentence a line, for the person who orders it."""
    target = format_network(impact.target)
    if impact.sockets:
        states = ", ".join(f"{count} {state}" for state, count in impact.sockets.items())
        fate = "are cut off" if order.scope is Scope.ALL else "go on, new connections are stopped"
        whom = f"; connected peers: {impact.peers}, which {fate}" if impact.peers else ""
        lines = [f"{target} holds {states}{whom}"]
    else:
        lines = [f"{target} holds no connections now"]
    protected = list(impact.protected.items())
    lines += [f"  protected: {format_network(party)} ({why})" for party, why in protected[:5]]
    if len(protected) > 5:
        lines.append(f"  protected: {len(protected) - 5} more")
    lines += [f"  stands already: {describe(one)}, id {one.id}" for one in impact.overlapping[:5]]
    if len(impact.overlapping) > 5:
        lines.append(f"  stands already: {len(impact.overlapping) - 5} more bans, see synguard bans")
    return lines


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
