"""The kernel members of wanted bans, kept up: which changed since the last pass, without looking at what did not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import compress
from operator import is_not
from typing import Final, TypeAlias

from synguard.addresses import Network
from synguard.enforcer.reconcile.delta import DesiredMembers, share
from synguard.enforcer.reconcile.expiry import ExpiryQueue
from synguard.model import Action, Ban, Scope, SynHeader

_Member: TypeAlias = tuple[Scope, Action, SynHeader | None]
"""What rivals of one target have in common; their ports may differ."""

_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


class DesiredMemberIndex:
    """Follows the wanted bans; ``members`` is at any time what `delta.desired_members` would make of them."""

    def __init__(self) -> None:
        self._at = _EARLIEST
        self._begin()

    def _begin(self) -> None:
        self._desired: Mapping[str, Ban] = {}
        self._held: dict[str, Ban] = {}
        self._covered: dict[str, str] = {}
        self._by_target: dict[Network, Ban | tuple[Ban, ...]] = {}
        """Most targets have one ban, and that needs no tuple."""
        self._ends = ExpiryQueue()

    @property
    def members(self) -> DesiredMembers:
        """What each ban is to hold by itself; a view, which the next ``follow`` changes."""
        return DesiredMembers(self._held, self._covered)

    @property
    def next_expiry(self) -> datetime:
        """When the first ban ends, or somewhat before; far in the future if none does."""
        return self._ends.next

    def follow(
        self,
        desired: Mapping[str, Ban],
        now: datetime,
        at_most: int | None = None,
        touched: Collection[str] | None = None,
    ) -> dict[str, None]:
        """Take in what is wanted at ``now``; return the ids of the bans whose member may have changed, in order.

        Of those that have expired since no more than ``at_most`` are taken in, the rest by the next calls. ``touched``
        are the ids of all bans that are not as at the last call, where that is known: the others are not looked at.
        Bans are compared by identity. A clock that was set back makes it start over: what had expired stands again.
        """
        changed: dict[str, None] = {}
        if now < self._at:
            changed |= dict.fromkeys(self._desired)
            self._begin()
            touched = None
        self._at = now
        before, self._desired = self._desired, desired
        contested: set[Network] = set()
        for ban in self._leaving(before, touched, now, at_most):
            changed[ban.id] = None
            self._leave(ban, contested)
        if desired is not before:
            for ban_id in _others(desired, before) if touched is None else touched:
                coming = desired.get(ban_id)
                if coming is not None and before.get(ban_id) is not coming:
                    changed[ban_id] = None
                    if not coming.dry_run and coming.active(now):
                        self._enter(coming, contested)
        self._settle(contested, changed)
        return changed

    def _leaving(
        self, before: Mapping[str, Ban], touched: Collection[str] | None, now: datetime, at_most: int | None
    ) -> Iterable[Ban]:
        """Return the bans that are no longer wanted, are wanted otherwise, or have expired."""
        leaving: dict[str, Ban] = {}
        if self._desired is not before:
            for ban_id in _others(before, self._desired) if touched is None else touched:
                ban = before.get(ban_id)
                if ban is not None and self._desired.get(ban_id) is not ban:
                    leaving[ban_id] = ban
        for expires_at, ban_id in self._ends.due(now, at_most):
            expired = before.get(ban_id)
            if expired is not None and expired.expires_at == expires_at:
                leaving[ban_id] = expired
        return leaving.values()

    def _enter(self, ban: Ban, contested: set[Network]) -> None:
        others = self._by_target.setdefault(ban.target, ban)
        self._held[ban.id] = ban
        if others is not ban:  # rare, and the rest must stay cheap
            self._by_target[ban.target] = (*_several(others), ban)
            contested.add(ban.target)
        if ban.expires_at is not None:
            self._ends.put(ban.expires_at, ban.id)

    def _leave(self, ban: Ban, contested: set[Network]) -> None:
        self._held.pop(ban.id, None)
        self._covered.pop(ban.id, None)
        others = _several(self._by_target.pop(ban.target, ()))
        rest = tuple(one for one in others if one.id != ban.id)
        if rest:
            self._by_target[ban.target] = rest[0] if len(rest) == 1 else rest
            contested.add(ban.target)

    def _settle(self, contested: Iterable[Network], changed: dict[str, None]) -> None:
        for target in contested:
            rivals: dict[_Member, list[Ban]] = {}
            for ban in _several(self._by_target.get(target, ())):
                changed[ban.id] = None
                self._held[ban.id] = ban
                self._covered.pop(ban.id, None)
                rivals.setdefault((ban.scope, ban.action, ban.header), []).append(ban)
            for several in rivals.values():
                if len(several) > 1:
                    share(several, self._held, self._covered)


def _several(bans: Ban | tuple[Ban, ...]) -> tuple[Ban, ...]:
    return bans if isinstance(bans, tuple) else (bans,)


def _others(bans: Mapping[str, Ban], known: Mapping[str, Ban]) -> Iterator[str]:
    """Yield the ids of bans that ``known`` has not, or has as another object; 100,000 are looked at in some ms."""
    return compress(bans, map(is_not, map(known.get, bans), bans.values()))
