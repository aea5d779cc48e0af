"""What others did to our rules between two passes, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from synguard.addresses import Network, format_network
from synguard.enforcer.held_bans import HeldBans
from synguard.enforcer.plane import Actual, Delta, Desired
from synguard.enforcer.reconcile.delta import agrees
from synguard.enforcer.reconcile.desired import DesiredState
from synguard.model import KernelBan
from synguard.plain import listed

_NAMED: Final = 5
"""Named one by one; the rest is a number, so that a wiped set is one sentence and not ten thousand."""


def drift(desired: Desired, change: Delta, known: Actual | None, actual: Actual, now: datetime) -> tuple[str, ...]:
    """Return what differs in ``actual`` from what we knew to be there, as far as it is still wanted.

    ``change`` turns ``actual`` into ``desired``: what is in neither half of it is as it was. At the first pass nothing
    is known: then only bans that the ledger does not have are told of. What has expired, or what another synguard
    process has put in or taken out by way of the ledger, is no drift.
    """
    return tuple(_sentences(desired, change, known, actual, now))


def _sentences(desired: Desired, change: Delta, known: Actual | None, actual: Actual, now: datetime) -> Iterator[str]:
    if known is not None:
        if known.intact and actual.missing:
            yield f"{listed(actual.missing, _NAMED)}: missing or changed, put back"
        gone = _gone(desired, change, known, actual, now)
        if gone:
            names = _bans([known.bans[ban_id] for ban_id in gone[:_NAMED]], len(gone))
            yield f"{_count(gone, 'ban')} gone from the kernel, put back: {names}"
        spared = ((known.allow & desired.allow) - actual.allow) | ((known.proven & desired.proven) - actual.proven)
        if spared:
            yield f"{_count(spared, 'exception')} gone from the kernel, put back: {_networks(spared)}"
    removed = change.remove
    if isinstance(desired.bans, DesiredState):
        removed = tuple(desired.bans.strangers(HeldBans.of(actual.bans)))
    orphans = [
        held
        for held in removed
        if held.ban_id not in desired.bans and (known is None or held.ban_id not in known.bans) and held.active(now)
    ]
    if orphans:
        names = _bans(orphans[:_NAMED], len(orphans))
        yield f"{_count(orphans, 'ban')} in the kernel but not in the ledger, removed: {names}"


def _gone(desired: Desired, change: Delta, known: Actual, actual: Actual, now: datetime) -> list[str]:
    if isinstance(desired.bans, DesiredState):  # of which the change may be a piece
        return desired.bans.lost(HeldBans.of(known.bans), HeldBans.of(actual.bans), now)
    held = ((ban, known.bans.get(ban.id)) for ban in change.add)
    return [ban.id for ban, one in held if one is not None and agrees(ban, one) and one.active(now)]


def _count(things: Iterable[object], noun: str) -> str:
    number = sum(1 for _ in things)
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


def _bans(first: list[KernelBan], count: int) -> str:
    return _listed([f"{ban.ban_id} ({format_network(ban.target)})" for ban in first], count)


def _networks(networks: Iterable[Network]) -> str:
    names = sorted(map(format_network, networks))
    return _listed(names, len(names))


def _listed(names: list[str], count: int) -> str:
    more = count - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
