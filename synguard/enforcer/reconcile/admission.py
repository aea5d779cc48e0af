"""Which of the wanted bans the kernel is asked to hold: all of them, up to the ceilings of its places."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from synguard.enforcer.plane import Plane
from synguard.enforcer.reconcile.capacity import ADVICE, CapacityLevel, fullest
from synguard.enforcer.reconcile.desired import DesiredState
from synguard.model import Ban
from synguard.packed_bans import PackedBans, microseconds

if TYPE_CHECKING:
    from synguard.ban_columns import Rows


class Admission:
    """Puts bans into the book as long as there is room, and keeps the wish for the others until there is."""

    def __init__(self, plane: Plane, desired_state: DesiredState) -> None:
        self._plane = plane
        self._desired_state = desired_state
        self._used: Counter[str] = Counter()
        self.waiting: Final = PackedBans()
        """Bans that there is no room for."""
        self._room = False
        """Whether anything was let go of since those that wait were last tried."""

    def put(self, bans: PackedBans) -> None:
        """Want these bans in the kernel too; none of their ids is wanted."""
        fitting = self._put_fitting(bans)
        if len(fitting) < len(bans):
            self.waiting.put_many(bans, np.setdiff1d(bans.rows, fitting))

    def drop(self, ban_id: str) -> Ban | None:
        """Want the ban of this id there no more; return it if it was wanted."""
        ban = self._desired_state.drop(ban_id)
        if ban is None:
            return self.waiting.pop(ban_id) if self.waiting else None
        self._free(ban)
        return ban

    def expire(self, now: datetime, at_most: int) -> list[Ban]:
        """Let go of bans that have ended, about ``at_most`` of them, and of those that waited; return them."""
        expired = self._desired_state.expire(now, at_most)
        for ban in expired:
            self._free(ban)
        expired += filter(None, map(self.waiting.pop, self.waiting.ended(microseconds(now))))
        if self._room:
            self._room = False
            for ban_id in [*self.waiting.ids(self._put_fitting(self.waiting))]:
                self.waiting.discard(ban_id)
        return expired

    def _put_fitting(self, bans: PackedBans) -> Rows:
        """Want those bans that there is room for; return their rows."""
        fitting: list[Rows] = [bans.rows[:0]]
        for (place, members), rows in bans.groups(self._plane.place):
            fitting.append(rows[: max(self._plane.ceiling - self._used[place], 0) // members])
            self._used[place] += members * len(fitting[-1])
        found = np.sort(np.concatenate(fitting))
        self._desired_state.put(bans, found)
        return found

    def _free(self, ban: Ban) -> None:
        place, members = self._plane.place(ban)
        self._used[place] -= members
        self._room = True

    @property
    def level(self) -> CapacityLevel | None:
        """The fullest place; None where nothing is held."""
        return fullest(self._plane, self._used)

    @property
    def problem(self) -> str:
        """Why bans are not in the kernel, one sentence; empty while all are."""
        if not self.waiting:
            return ""
        place = self._plane.place(next(iter(self.waiting.values())))[0]
        bans = "1 ban is" if len(self.waiting) == 1 else f"{len(self.waiting):,} bans are"
        return (
            f"{bans} not in the kernel: {place} holds its ceiling of {self._plane.ceiling:,} "
            f"({self._plane.ceiling_key}); {ADVICE}, or raise it and restart"
        )
