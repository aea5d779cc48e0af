"""Wanted against actual: pure functions of what the ledger asks for and what the kernel holds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from synguard.addresses import Network
from synguard.ban_columns import microseconds
from synguard.enforcer.held_bans import HeldBans
from synguard.enforcer.plane import Actual, Delta, Desired
from synguard.model import NEVER, NO_HITS, Action, Ban, Hits, KernelBan, Scope
from synguard.syn_header import SynHeader

_ALL_PORTS: Final = 0
"""Stands for the one member of a ban that names no ports."""


@dataclass(frozen=True, slots=True)
class DesiredMembers:
    """Wanted bans without overlap: what each of them is to hold by itself."""

    bans: Mapping[str, Ban]
    """Ban id → ban, less the ports that another ban of the same target closes for longer."""
    covered: Mapping[str, str]
    """Ban id → the ban that holds its last member; such a ban has nothing of its own in the kernel."""


def desired_members(bans: Mapping[str, Ban], now: datetime) -> DesiredMembers:
    """Return which standing ban holds which member, where several want the same one.

    The kernel can note one ban per member (network, port, scope, action, header): it is the one that lasts longest.
    Without this rule two bans of one target would take the member from each other in every pass.
    """
    active_bans = [ban for ban in bans.values() if ban.active(now) and not ban.dry_run]
    first: dict[Network, Ban] = {}
    shared = {ban.target for ban in active_bans if first.setdefault(ban.target, ban) is not ban}
    rivals: dict[tuple[Network, Scope, Action, SynHeader | None, bool], list[Ban]] = {}
    for ban in active_bans:
        if shared and ban.target in shared:
            rivals.setdefault((ban.target, ban.scope, ban.action, ban.header, ban.refuses_proven), []).append(ban)
    held = {ban.id: ban for ban in active_bans}
    covered: dict[str, str] = {}
    for several in rivals.values():
        if len(several) > 1:  # rare, and the rest must stay cheap: a new ban comes upon ten thousand old ones
            share(several, held, covered)
    return DesiredMembers(held, covered)


def share(rivals: list[Ban], held: dict[str, Ban], covered: dict[str, str]) -> None:
    """Give each member that the rivals want to the one that lasts longest, and take it from the others."""
    owner: dict[int, str] = {}
    for ban in sorted(rivals, key=lambda ban: (ban.expires_at or NEVER, ban.id), reverse=True):
        for port in ban.ports or (_ALL_PORTS,):
            owner.setdefault(port, ban.id)
    for ban in rivals:
        own = tuple(port for port in ban.ports if owner[port] == ban.id)
        if not ban.ports and owner[_ALL_PORTS] == ban.id:
            continue
        if own:
            held[ban.id] = replace(ban, ports=own)
        else:
            del held[ban.id]
            covered[ban.id] = owner[(ban.ports or (_ALL_PORTS,))[-1]]


def agrees(ban: Ban, held: KernelBan) -> bool:
    """Return whether the kernel holds the ban as it is wanted; counters do not matter."""
    return (
        (held.target is ban.target or held.target == ban.target)
        and held.scope is ban.scope
        and held.action is ban.action
        and held.expires_at == ban.expires_at
        and held.header == ban.header
        and (held.ports == ban.ports or set(held.ports) == set(ban.ports))
    )


def delta(desired: Desired, actual: Actual, now: datetime, members: DesiredMembers | None = None) -> Delta:
    """Return what turns ``actual`` into ``desired``; empty if they agree.

    ``members`` may be given if the members of the wanted bans at ``now`` are known already. A ban that is held with
    another expiry, action, target or ports is in both ``remove`` and ``add``; a plane keeps the members that are in
    both, so that extending a ban leaves no gap.
    """
    bans = (members or desired_members(desired.bans, now)).bans
    stale = [ban_id for ban_id in actual.bans if ban_id not in bans]
    fresh: list[Ban] = []
    for ban_id, ban in bans.items():
        held = actual.bans.get(ban_id)
        if held is None or not agrees(ban, held):
            fresh.append(ban)
            if held is not None:
                stale.append(ban_id)
    return _change(desired, actual, fresh, [actual.bans[ban_id] for ban_id in stale])


def member_delta(
    desired: Desired,
    known: Actual,
    now: datetime,
    members: DesiredMembers,
    changed: Iterable[str],
    at_most: int | None = None,
    *,
    seen: bool = False,
) -> tuple[Delta, frozenset[str], list[str]]:
    """Return what turns ``known`` into ``desired`` where all but the ``changed`` bans agree already.

    ``seen`` says that the kernel has just been asked: a held ban past its end stands on there, since the clock was set
    ahead, and is removed.

    The second value is the ids of held bans that the kernel has ended by itself; the third those that are left for
    later, since no more than ``at_most`` are to be touched at once. Without a bound and with all ids
    changed, the change equals that of `delta`.
    """
    add: list[Ban] = []
    remove: list[KernelBan] = []
    expired: list[str] = []
    touched = 0
    ids = iter(changed)
    for ban_id in ids:
        ban, held = members.bans.get(ban_id), known.bans.get(ban_id)
        if ban is not None and not ban.active(now):
            ban = None
        if held is not None and not seen and not held.active(now):
            expired.append(ban_id)
            held = None
        if (held is None and ban is None) or (held is not None and ban is not None and agrees(ban, held)):
            continue
        touched += 1
        if held is not None:
            remove.append(held)
        if ban is not None:
            add.append(ban)
        if touched == at_most:
            break
    return _change(desired, known, add, remove), frozenset(expired), list(ids)


def _change(desired: Desired, actual: Actual, add: Iterable[Ban], remove: Iterable[KernelBan]) -> Delta:
    """Return the change of these bans, of all exceptions that differ, and of the frame."""
    return Delta(
        add=tuple(add),
        remove=tuple(remove),
        allow_add=desired.allow - actual.allow,
        allow_remove=actual.allow - desired.allow,
        proven_add=desired.proven - actual.proven,
        proven_remove=actual.proven - desired.proven,
        frame=not actual.intact,
    )


def after(actual: Actual, change: Delta, *, counted: bool = False) -> Actual:
    """Return what a plane holds once it has applied the change; hits of a ban that stays are kept.

    Bans in columns are changed in place; ``counted`` says that what they counted is known from their beginning.
    """
    bans = actual.bans if isinstance(actual.bans, HeldBans) else dict(actual.bans)
    coming = {ban.id for ban in change.add}
    for held in change.remove:
        if held.key not in coming:
            bans.pop(held.key, None)
    if isinstance(bans, HeldBans) and not counted:
        bans.begin(change.add)
    else:
        for ban in change.add:
            bans[ban.id] = as_kernel_bans(ban, bans[ban.id].hits if ban.id in bans else NO_HITS)
    return replace(
        actual,
        bans=bans,
        allow=(actual.allow - change.allow_remove) | change.allow_add,
        proven=(actual.proven - change.proven_remove) | change.proven_add,
        intact=actual.intact or change.frame,
        missing=() if change.frame else actual.missing,
        outdated=actual.outdated and not change.frame,
    )


def without(actual: Actual, ban_ids: Collection[str]) -> Actual:
    """Return ``actual`` less the bans of these ids; the same object if there are none, columns changed in place."""
    if not ban_ids:
        return actual
    bans = actual.bans if isinstance(actual.bans, HeldBans) else dict(actual.bans)
    for ban_id in ban_ids:
        bans.pop(ban_id, None)
    return replace(actual, bans=bans)


def without_expired(actual: Actual, now: datetime) -> Actual:
    """Return ``actual`` less the bans that the kernel has ended by itself; the same object if there are none.

    Bans in columns are changed in place.
    """
    if isinstance(actual.bans, HeldBans):
        return without(actual, actual.bans.rows.ended(microseconds(now)))
    bans = {ban_id: held for ban_id, held in actual.bans.items() if held.active(now)}
    return actual if len(bans) == len(actual.bans) else replace(actual, bans=bans)


def as_kernel_bans(ban: Ban, hits: Hits) -> KernelBan:
    """Return a ban as a plane would read it back."""
    return KernelBan(
        ban.id, ban.target, ban.scope, ban.action, ban.ports, ban.expires_at, hits, ban.header, 0, ban.refuses_proven
    )
