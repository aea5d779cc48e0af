"""The bans of an agent in one place: which there are, which of them the plane is to hold, and what changed since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from synguard.enforcer.plane import Plane
from synguard.enforcer.reconcile.admission import Admission
from synguard.enforcer.reconcile.desired import DesiredState
from synguard.model import Ban, Origin, Scope

EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


class TrackedBans:
    """Each ban comes by ``put`` and goes by ``drop``, whatever the cause; so counts, plane and followers agree."""

    def __init__(self, plane: Plane) -> None:
        self.desired: Final = DesiredState()
        self.admission: Final = Admission(plane, self.desired)
        self.bans: Final[dict[str, Ban]] = {}
        self.by_hand: Final[dict[str, Ban]] = {}
        """In dry-run, the bans that stand for real: a person's, or left by an enforcing agent."""
        self.counts: Final[Counter[tuple[Origin, Scope]]] = Counter()
        """How many of the bans there are, by who asked for them and what they stop."""
        self.newest: datetime = EARLIEST
        """When the latest automatic ban began of those that came since this was last set back."""
        self.unsettled = True
        """Whether the plane is to hold something else than when this was last set to False."""
        self._arrived: dict[str, Ban] = {}
        self._departed: dict[str, Ban] = {}

    def put(self, ban: Ban, *, known: bool = False) -> None:
        """Take in a ban, instead of one of the same id; followers are not told where they know of it."""
        self.drop(ban.id)
        self.bans[ban.id] = ban
        self.counts[ban.origin, ban.scope] += 1
        if not known:
            self._arrived[ban.id] = ban
        if ban.origin is Origin.AUTO:
            self.newest = max(self.newest, ban.created_at)
        self.admission.put(replace(ban, dry_run=False) if ban.dry_run else ban)  # dry-run is as if
        self.unsettled = True

    def drop(self, ban_id: str) -> Ban | None:
        """Let go of the ban of this id; return it if it was there."""
        ban = self.bans.pop(ban_id, None)
        if ban is not None:
            self.counts[ban.origin, ban.scope] -= 1
            self.admission.drop(ban_id)
            self._depart(ban)
            self.unsettled = True
        return ban

    def expire(self, now: datetime, at_most: int) -> None:
        """Let go of bans that have ended, about ``at_most`` of them."""
        for ban_id in self.admission.expire(now, at_most):
            self.drop(ban_id)

    def become(self, bans: Mapping[str, Ban], by_hand: Mapping[str, Ban], at_most: int | None) -> bool:
        """Go over to other bans, ``at_most`` changes of a kind at a time; return whether more are left for later."""
        gone, changed, left = _changes(self.bans, bans, at_most)
        for ban_id in gone:
            self.drop(ban_id)
        for ban in changed:
            self.put(ban)
        gone, changed, more = _changes(self.by_hand, by_hand, at_most)
        for ban_id in gone:
            self._depart(self.by_hand.pop(ban_id))
        for ban in changed:
            if ban.id in self.by_hand:
                self._depart(self.by_hand[ban.id])
            self.by_hand[ban.id] = self._arrived[ban.id] = ban
        return left or more

    def take_in(self, bans: Iterable[Ban], by_hand: Iterable[Ban]) -> None:
        """Take in a piece of a long list, as far as it is not known; ``become`` must follow when all of it is there."""
        for ban in bans:
            if ban.id not in self.bans:
                self.put(ban)
        for ban in by_hand:
            if ban.id not in self.by_hand:
                self.by_hand[ban.id] = self._arrived[ban.id] = ban

    @property
    def arrivals(self) -> int:
        """How many bans have arrived of which followers have not been told."""
        return len(self._arrived)

    def take_changes(self) -> tuple[Collection[Ban], Collection[Ban]]:
        """Return which bans arrived and departed since the last call."""
        arrived, departed = self._arrived, self._departed
        if arrived or departed:
            self._arrived, self._departed = {}, {}
        return arrived.values(), departed.values()

    def _depart(self, ban: Ban) -> None:
        if self._arrived.pop(ban.id, None) is None:
            self._departed[ban.id] = ban


def _changes(
    known: Mapping[str, Ban], now: Mapping[str, Ban], at_most: int | None
) -> tuple[list[str], list[Ban], bool]:
    """Return ids that are gone, bans that are new or otherwise, and whether there are more than ``at_most``."""
    gone = list(known.keys() - now.keys())
    changed = [ban for ban_id, ban in now.items() if (old := known.get(ban_id)) is not ban and old != ban]
    return gone[:at_most], changed[:at_most], at_most is not None and max(len(gone), len(changed)) > at_most
