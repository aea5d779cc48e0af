"""Wanted against actual: pure functions of what the ledger asks for and what the kernel holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from synguard.addresses import Network
from synguard.enforcer.plane import Actual, Change, Wanted
from synguard.model import Action, Ban, Held, Hits, Scope

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Claims:
    """Wanted bans without overlap: what each of them is to hold by itself."""

    bans: Mapping[str, Ban]
    """Ban id → ban, less the ports that another ban of the same target closes for longer."""
    covered: Mapping[str, str]
    """Ban id → the ban that holds its last member; such a ban has nothing of its own in the kernel."""


def claims(bans: Mapping[str, Ban], now: datetime) -> Claims:
    """Return which standing ban holds which member, where several want the same one.

    The kernel can note one ban per member (network, port, scope, action): it is the one that lasts longest.
    Without this rule two bans of one target would take the member from each other in every pass.
    """
    owner: dict[tuple[Network, Scope, Action, int], str] = {}
    standing = [ban for ban in bans.values() if ban.active(now) and not ban.dry_run]
    for ban in sorted(standing, key=lambda ban: (ban.expires_at or _NEVER, ban.id), reverse=True):
        for port in ban.ports or (0,):
            owner.setdefault((ban.target, ban.scope, ban.action, port), ban.id)
    held: dict[str, Ban] = {}
    covered: dict[str, str] = {}
    for ban in standing:
        own = [port for port in ban.ports or (0,) if owner[ban.target, ban.scope, ban.action, port] == ban.id]
        if not own:
            covered[ban.id] = owner[ban.target, ban.scope, ban.action, (ban.ports or (0,))[-1]]
        else:
            held[ban.id] = ban if len(own) == len(ban.ports or (0,)) else replace(ban, ports=tuple(own))
    return Claims(held, covered)


def agrees(ban: Ban, held: Held) -> bool:
    """Return whether the kernel holds the ban as it is wanted; counters do not matter."""
    return (
        held.target == ban.target
        and held.scope is ban.scope
        and held.action is ban.action
        and held.expires_at == ban.expires_at
        and (held.ports == ban.ports or set(held.ports) == set(ban.ports))
    )


def diff(wanted: Wanted, actual: Actual, now: datetime) -> Change:
    """Return what turns ``actual`` into ``wanted``; empty if they agree.

    A ban that is held with another expiry, action, target or ports is in both ``remove`` and ``add``; a plane keeps
    the members that are in both, so that extending a ban leaves no gap.
    """
    bans = claims(wanted.bans, now).bans
    stale = [ban_id for ban_id, held in actual.bans.items() if ban_id not in bans or not agrees(bans[ban_id], held)]
    fresh = [ban for ban in bans.values() if ban.id not in actual.bans or not agrees(ban, actual.bans[ban.id])]
    return Change(
        add=tuple(fresh),
        remove=tuple(actual.bans[ban_id] for ban_id in stale),
        allow_add=wanted.allow - actual.allow,
        allow_remove=actual.allow - wanted.allow,
        proven_add=wanted.proven - actual.proven,
        proven_remove=actual.proven - wanted.proven,
        frame=not actual.intact,
    )


def after(actual: Actual, change: Change) -> Actual:
    """Return what a plane holds once it has applied the change; hits of a ban that stays are kept."""
    removed = {held.ban_id for held in change.remove}
    bans = {ban_id: held for ban_id, held in actual.bans.items() if ban_id not in removed}
    for ban in change.add:
        earlier = actual.bans.get(ban.id)
        bans[ban.id] = as_held(ban, earlier.hits if earlier else Hits(0, 0))
    return replace(
        actual,
        bans=bans,
        allow=(actual.allow - change.allow_remove) | change.allow_add,
        proven=(actual.proven - change.proven_remove) | change.proven_add,
        intact=actual.intact or change.frame,
        missing=() if change.frame else actual.missing,
    )


def without_lapsed(actual: Actual, now: datetime) -> Actual:
    """Return ``actual`` less the bans that the kernel has ended by itself; the same object if there are none."""
    bans = {ban_id: held for ban_id, held in actual.bans.items() if held.expires_at is None or now < held.expires_at}
    return actual if len(bans) == len(actual.bans) else replace(actual, bans=bans)


def next_lapse(actual: Actual) -> datetime:
    """Return when the first held ban ends; far in the future if none does."""
    return min((held.expires_at for held in actual.bans.values() if held.expires_at), default=_NEVER)


def as_held(ban: Ban, hits: Hits) -> Held:
    """Return a ban as a plane would read it back."""
    return Held(ban.id, ban.target, ban.scope, ban.action, ban.ports, ban.expires_at, hits)
