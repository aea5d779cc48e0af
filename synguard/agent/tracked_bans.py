"""The bans of an agent in one place: which there are, which of them the plane is to hold, and what changed since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

from synguard.ban_columns import microseconds
from synguard.enforcer.plane import Plane
from synguard.enforcer.reconcile.admission import Admission
from synguard.enforcer.reconcile.desired import DesiredState
from synguard.ledger.ban_changes import ChangedBans
from synguard.model import Ban, Origin, Scope
from synguard.packed_bans import PackedBans

EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


class _Both(Mapping[str, Ban]):
    """The bans of two mappings, none of which is in both; a view."""

    def __init__(self, one: Mapping[str, Ban], other: Mapping[str, Ban]) -> None:
        self._parts = (one, other)

    def __getitem__(self, ban_id: str) -> Ban:
        ban: Ban | None = self.get(ban_id)
        if ban is None:
            raise KeyError(ban_id)
        return ban

    def get(self, ban_id: str, default: Any = None) -> Any:
        """Return the ban of this id, if one of them has it."""
        return self._parts[0].get(ban_id) or self._parts[1].get(ban_id, default)

    def __contains__(self, ban_id: object) -> bool:
        return any(ban_id in part for part in self._parts)

    def __iter__(self) -> Iterator[str]:
        return chain(*self._parts)

    def __len__(self) -> int:
        return sum(map(len, self._parts))


class TrackedBans:
    """Each ban comes by ``put`` and goes by ``drop``, whatever the cause; so counts, plane and followers agree."""

    def __init__(self, plane: Plane) -> None:
        self.desired: Final = DesiredState()
        self.admission: Final = Admission(plane, self.desired)
        self.bans: Final[Mapping[str, Ban]] = _Both(self.desired, self.admission.waiting)
        self.by_hand: Final = PackedBans()
        """In dry-run, the bans that stand for real: a person's, or left by an enforcing agent."""
        self.counts: Final[Counter[tuple[Origin, Scope]]] = Counter()
        """How many of the bans there are, by who asked for them and what they stop."""
        self.newest: datetime = EARLIEST
        """When the latest automatic ban began of those that came since this was last set back."""
        self.unsettled = True
        """Whether the plane is to hold something else than when this was last set to False."""
        self._arrived = PackedBans()
        self._departed: dict[str, Ban] = {}

    def put(self, bans: PackedBans, *, known: bool = False) -> None:
        """Take in bans, each instead of one of the same id; followers that know of them are not informed."""
        for ban_id in self._common(bans):
            self.drop(ban_id)
        for (origin, scope), rows in bans.groups(lambda ban: (ban.origin, ban.scope)):
            self.counts[origin, scope] += len(rows)
            if origin is Origin.AUTO:
                self.newest = max(self.newest, bans.latest(rows))
        if not known:
            self._arrived.put_many(bans)
        self.admission.put(bans)
        self.unsettled |= bool(bans)

    def drop(self, ban_id: str) -> Ban | None:
        """Let go of the ban of this id; return it if it was there."""
        ban = self.admission.drop(ban_id)
        if ban is not None:
            self._left(ban)
        return ban

    def expire(self, now: datetime, at_most: int) -> None:
        """Let go of bans that have ended, about ``at_most`` of them."""
        for ban in self.admission.expire(now, at_most):
            self._left(ban)
        for ban_id in self.by_hand.ended(microseconds(now), at_most):
            self._drop_by_hand(ban_id)

    def has_ended(self, now: datetime) -> bool:
        """Return whether a ban that is still here has ended at ``now``."""
        others = min(self.by_hand.next_end, self.admission.waiting.next_end)
        return self.desired.has_ended(now) or others <= microseconds(now)

    def follow(self, changes: ChangedBans, *, by_hand: bool = False, kept: Collection[str] = ()) -> None:
        """Take in what the ledger tells of these bans, or of those by hand; the ``kept`` stay whether it has them."""
        bans: Mapping[str, Ban] = self.by_hand if by_hand else self.bans
        came = changes.came
        gone = list(changes.gone)
        if changes.standing is not None:
            gone += [ban_id for ban_id in bans if ban_id not in changes.standing]
        for ban_id in gone:
            if ban_id not in kept:
                self._drop_by_hand(ban_id) if by_hand else self.drop(ban_id)
        for ban_id in came.common(self.by_hand) if by_hand else self._common(came):
            if bans[ban_id] == came[ban_id]:
                came.discard(ban_id)
            elif by_hand:
                self._drop_by_hand(ban_id)
        if by_hand:
            self.by_hand.put_many(came)
            self._arrived.put_many(came)
        else:
            self.put(came)

    def automatic(self) -> Iterator[Ban]:
        """Yield the automatic bans."""
        return chain(self.desired.select(Origin.AUTO), self.admission.waiting.select(lambda one, _: one is Origin.AUTO))

    def take_changes(self) -> tuple[PackedBans, Collection[Ban]]:
        """Return which bans arrived and departed since the last call."""
        arrived, departed = self._arrived, self._departed
        if arrived or departed:
            self._arrived, self._departed = PackedBans(), {}
        return arrived, departed.values()

    def _common(self, bans: PackedBans) -> list[str]:
        """Return the ids of those that are here."""
        return [*self.desired.common(bans), *bans.common(self.admission.waiting)]

    def _drop_by_hand(self, ban_id: str) -> None:
        ban = self.by_hand.pop(ban_id)
        if ban is not None:
            self._depart(ban)

    def _left(self, ban: Ban) -> None:
        self.counts[ban.origin, ban.scope] -= 1
        self._depart(ban)
        self.unsettled = True

    def _depart(self, ban: Ban) -> None:
        if ban.id in self._arrived:
            self._arrived.discard(ban.id)
        else:
            self._departed[ban.id] = ban
