"""A person's orders: what a ban would hit, and what is unsafe and refused; ``operator/apply.py`` carries out.

Nothing here writes: ``read_host_context`` reads, the rest are functions of what it gives.
"""

from __future__ import annotations

import os
import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from synguard.addresses import Address, Network, NetworkIndex, covers, embedded, format_network, host_network
from synguard.errors import RefusedError
from synguard.model import Action, Ban, Origin, Scope
from synguard.operator.impact import Targets, by_target, link_local, too_wide
from synguard.plain import listed, some

if TYPE_CHECKING:
    from synguard.ledger.active_drops import ActiveDrop
    from synguard.readings import Protected
    from synguard.socket_table import Presence, SocketTable

POLICY: Final = "manual"
"""The policy that a person's bans name."""
MOST_PORTS: Final = 64
"""Of one ban: each port of each target is one entry in the kernel."""
REFUSALS_SHOWN: Final = 20
"""Refused targets that are named; the rest is a number."""
LOOPBACK: Final[tuple[Network, ...]] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


@dataclass(frozen=True, slots=True)
class BanRequest:
    """What a person asks for, before anything is looked at."""

    targets: tuple[Network, ...]
    lasts_s: float | None
    """None for a permanent ban."""
    scope: Scope = Scope.ALL
    action: Action = Action.DROP
    ports: tuple[int, ...] = ()
    reason: str = ""
    force: bool = False
    reasons: Mapping[Network, str] = field(default_factory=dict)
    """Reasons of single targets, which outrank ``reason``; those without one are absent."""
    places: Mapping[Network, str] = field(default_factory=dict)
    """Where a target was named, ``list.txt:12``; those of the command line are absent."""
    same: Mapping[Network, ActiveDrop] = field(default_factory=dict)
    """Targets that have the very ban that is asked for, but for its end; looked for only in a long list."""


@dataclass(frozen=True, slots=True)
class HostContext:
    """Who and what is there at the moment of an order."""

    protected: Protected
    own: frozenset[Network] = frozenset()
    """This host's own addresses: never banned, whoever insists."""
    operator: Address | None = None
    """Where the person who orders is logged in from; None at the console."""
    active_bans: tuple[Ban, ...] = ()
    sockets: SocketTable | Mapping[Network, Presence] | None = None
    """Every TCP socket, or those of each target; None where they could not be read."""
    udp: SocketTable | Mapping[Network, Presence] | None = None
    """Every UDP socket, likewise."""


@dataclass(frozen=True, slots=True)
class Impact:
    """What a ban of one target would hit."""

    target: Network
    sockets: Mapping[str, int] = field(default_factory=dict)
    """TCP state → sockets whose remote end is in the target; states with none are absent."""
    peers: int = 0
    """Distinct addresses in the target that hold a connection with a completed handshake."""
    udp: int = 0
    """UDP sockets that are connected to the target."""
    protected: Mapping[Network, str] = field(default_factory=dict)
    """Protected parties inside the target or covering it → why they are protected."""
    overlapping: tuple[Ban, ...] = ()
    """Bans that stand already and share addresses with the target."""
    refusals: tuple[str, ...] = ()
    """Why not, one clause each."""
    absolute: bool = False
    """Whether not even ``--force`` may."""


def read_host_context(
    protected: Protected, active_bans: Iterable[Ban], targets: Collection[Network] = ()
) -> tuple[HostContext, tuple[str, ...]]:
    """Return who and what is there now, and a sentence for each part of it that is not known.

    Of a few ``targets`` their own sockets are read alone.
    """
    from synguard.errors import SensorError
    from synguard.operator.login import login_here, operator_address
    from synguard.sensors.few_sockets import sockets_of
    from synguard.sensors.protected import OWN, own_addresses

    table, udp = None, None
    unknown = [f"the protected list is incomplete: {problem}" for problem in protected.problems] + [*protected.gaps]
    try:
        own = own_addresses()
    except SensorError as error:
        own = dict(protected.parts.get(OWN, {}))
        unknown.append(str(error))
    try:
        table, udp = sockets_of(targets)
    except SensorError as error:
        unknown.append(f"live connections are not known: {error}")
    around = HostContext(
        protected=protected,
        own=frozenset(own),
        operator=operator_address(os.environ.get("SSH_CONNECTION", "") or login_here().ssh),
        active_bans=tuple(active_bans),
        sockets=table,
        udp=udp,
    )
    return around, tuple(unknown)


def assess(order: BanRequest, around: HostContext) -> tuple[Impact, ...]:
    """Return what each target of the order would hit, and why it may not, if so."""
    return tuple(of_each(order.targets, eventful(order, around)))


def of_each(targets: Iterable[Network], impacts: Iterable[Impact]) -> Iterator[Impact]:
    """Yield the impact of each target, also where there is nothing to tell of it."""
    of = {one.target: one for one in impacts}
    return (of.get(target) or Impact(target) for target in targets)


def eventful(order: BanRequest, around: HostContext) -> tuple[Impact, ...]:
    """Return the same of those targets alone of which there is something to tell, in their order."""
    targets = Targets(order.targets)
    active_bans = by_target(targets, around.active_bans, lambda one: one.target)
    tcp, udp = (targets.present(one) if one is not None else {} for one in (around.sockets, around.udp))
    # a challenge refuses no one, and who is protected passes unchallenged
    refusals, absolute, protected = ({}, set(), {}) if order.action.challenges else _refusals(order, targets, around)
    known = refusals.keys() | protected.keys() | active_bans.keys() | tcp.keys() | udp.keys()
    return tuple(
        Impact(
            target=target,
            sockets=tcp[target].sockets if target in tcp else {},
            peers=tcp[target].peers if target in tcp else 0,
            udp=sum(udp[target].sockets.values()) if target in udp else 0,
            protected=protected.get(target, {}),
            overlapping=tuple(active_bans.get(target, ())),
            refusals=tuple(refusals.get(target, ())),
            absolute=target in absolute,
        )
        for target in (order.targets if known else ())
        if target in known
    )


def _refusals(
    order: BanRequest, targets: Targets, around: HostContext
) -> tuple[dict[Network, list[str]], Collection[Network], dict[Network, dict[Network, str]]]:
    """Return target → why it is refused, the targets that not even ``--force`` bans, and target → protected parties."""
    of = around.protected.embedding
    own = by_target(targets, dict.fromkeys((*around.own, *LOOPBACK)), lambda one: one)
    parties = dict(around.protected.networks)
    if order.scope is Scope.ALL:
        parties |= {one: f"container of this host, {why}" for one, why in around.protected.never_cut_off.items()}
    protected = {target: dict(found) for target, found in by_target(targets, parties.items(), itemgetter(0)).items()}
    translated = dict.fromkeys(target for one in of for target in targets.all_overlapping(one))
    inner: dict[Network, Network] = {one: target for target in translated if (one := embedded(target, of))}
    for within, found in by_target(NetworkIndex(inner), parties.items(), itemgetter(0)).items():
        protected.setdefault(inner[within], {}).update(found)
    refusals: dict[Network, list[str]] = defaultdict(list)
    for target, ours in own.items():
        named = listed(sorted(map(format_network, ours)), 3)
        refusals[target].append(f"it overlaps this host's own {named}, which is never banned")
    for target in protected.keys() - own.keys():
        some = list(protected[target].items())[:5]
        refusals[target] += [f"{format_network(party)} is protected ({why})" for party, why in some]
    if around.operator is not None:
        here = host_network(around.operator)
        for target in targets.all_overlapping(here):
            if covers(target, here) and target not in own:
                refusals[target].append(f"you are logged in from {around.operator}")
    for target in targets.too_wide(of):
        refusals[target] += too_wide(target, of)
    return refusals, own.keys(), protected


def unsafe(order: BanRequest, impacts: Iterable[Impact]) -> list[Impact]:
    """Return the impacts for which a ban is refused: this host itself, or, without force, what is protected."""
    return [impact for impact in impacts if impact.refusals and (impact.absolute or not order.force)]


def refuse_unsafe(order: BanRequest, impacts: Iterable[Impact]) -> None:
    """Return if the order may be carried out.

    Raises:
        RefusedError: A target is this host itself or loopback, or, without force, protected or absurdly wide.
    """
    if refused := unsafe(order, impacts):
        reasons = some((refusal(order, one) for one in refused), REFUSALS_SHOWN, "more refused")
        advice = "" if any(one.absolute for one in refused) else "; --force bans it anyway"
        advice += "; --skip-refused bans the others" if order.places else ""
        raise RefusedError("\n".join(reasons) + f"; nothing was banned{advice}")


def refusal(order: BanRequest, impact: Impact) -> str:
    """Return where a target was named, and why it is refused."""
    place = order.places.get(impact.target)
    return (f"{place}: " if place else "") + f"{format_network(impact.target)} is refused: {', '.join(impact.refusals)}"


def bans_for(
    order: BanRequest, impacts: Iterable[Impact], now: datetime, active_bans: Iterable[Ban] = ()
) -> tuple[Ban, ...]:
    """Return the bans that the order asks for; forced where force is what allows them.

    One that stands already as it is asked for, but for its expiry, stays that ban and keeps its id and its counts: the
    same order given twice doubles nothing.
    """
    expires_at = None if order.lasts_s is None else now + timedelta(seconds=order.lasts_s)
    alike = {_order_of(ban): ban for ban in active_bans if ban.origin is Origin.MANUAL}
    bans = []
    for impact in impacts:
        ban = Ban(
            id=new_id(),
            target=impact.target,
            scope=order.scope,
            action=order.action,
            origin=Origin.MANUAL,
            policy=POLICY,
            reason=order.reasons.get(impact.target) or order.reason or "by hand",
            created_at=now,
            expires_at=expires_at,
            ports=order.ports,
            forced=order.force and bool(impact.refusals),
        )
        same = alike.get(_order_of(ban)) if alike else None
        bans.append(ban if same is None else replace(same, expires_at=expires_at))
    return tuple(bans)


def _order_of(ban: Ban) -> tuple[object, ...]:
    """Return all that a person says of a ban but how long it lasts."""
    return ban.target, ban.scope, ban.action, ban.ports, ban.reason, ban.forced, ban.policy


def new_id() -> str:
    """Return an id for a person's ban; the ``m`` keeps it from ever reading as an address."""
    return f"m{secrets.token_hex(6)}"  # of 32 bits, 100,000 at once would hold two that are equal


def describe(ban: Ban) -> str:
    """Return a ban in a few words: ``192.0.2.0/24 (all, drop) until 2026-03-01 12:00:00 UTC``."""
    until = "permanently" if ban.expires_at is None else f"until {ban.expires_at:%Y-%m-%d %H:%M:%S} UTC"
    return f"{format_network(ban.target)} ({ban.scope}, {ban.action}) {until}"


def impact_lines(impact: Impact, order: BanRequest) -> list[str]:
    """Return what a ban of one target would hit, a sentence a line, for the person who orders it."""
    lines = [connections_of(impact, order), *link_local(impact.target)]
    protected = (f"protected: {format_network(party)} ({why})" for party, why in impact.protected.items())
    lines += [f"  {one}" for one in some(protected, 5, "more protected")]
    banned = (f"already banned: {describe(one)}, id {one.id}" for one in impact.overlapping)
    return [*lines, *(f"  {one}" for one in some(banned, 5, "more, see synguard bans"))]


def connections_of(impact: Impact, order: BanRequest) -> str:
    """Return which connections a target holds, and what becomes of them."""
    target = format_network(impact.target)
    sockets = "1 UDP socket is" if impact.udp == 1 else f"{impact.udp} UDP sockets are"
    udp = f"; {sockets} connected to it and cut off" if impact.udp else "; only connected UDP sockets are counted"
    udp = udp if order.scope is Scope.ALL else ""
    if not impact.sockets:
        return f"{target} holds no TCP connections now{udp}"
    states = ", ".join(f"{count} {state}" for state, count in impact.sockets.items())
    fate = "are cut off" if order.scope is Scope.ALL else "continue, new connections are stopped"
    whom = f"; connected peers: {impact.peers}, which {fate}" if impact.peers else ""
    return f"{target} holds {states}{whom}{udp if impact.udp else ''}"
