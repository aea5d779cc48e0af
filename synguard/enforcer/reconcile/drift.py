"""What others did to our rules between two passes, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from synguard.addresses import Network, format_network
from synguard.enforcer.plane import Actual, Delta, Desired
from synguard.enforcer.reconcile.delta import agrees
from synguard.model import KernelBan

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
        if known.intact:
            yield from (f"{part}: missing or changed, put back" for part in actual.missing)
        gone = [
            held
            for ban in change.add
            if (held := known.bans.get(ban.id)) is not None and agrees(ban, held) and held.active(now)
        ]
        if gone:
            yield f"{_count(gone, 'ban')} gone from the kernel, put back: {_bans(gone)}"
        spared = ((known.allow & desired.allow) - actual.allow) | ((known.proven & desired.proven) - actual.proven)
        if spared:
            yield f"{_count(spared, 'exception')} gone from the kernel, put back: {_networks(spared)}"
    orphans = [
        held
        for held in change.remove
        if held.ban_id not in desired.bans and (known is None or held.ban_id not in known.bans) and held.active(now)
    ]
    if orphans:
        yield f"{_count(orphans, 'ban')} in the kernel but not in the ledger, removed: {_bans(orphans)}"


def _count(things: Iterable[object], noun: str) -> str:
    number = sum(1 for _ in things)
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


def _bans(bans: list[KernelBan]) -> str:
    return _listed([f"{ban.ban_id} ({format_network(ban.target)})" for ban in bans])


def _networks(networks: Iterable[Network]) -> str:
    return _listed(sorted(format_network(network) for network in networks))


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
