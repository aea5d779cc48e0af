"""Which of the wanted bans the kernel is asked to hold: all of them, up to the ceilings of its places."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from synguard.enforcer.plane import Plane
from synguard.enforcer.reconcile.capacity import ADVICE, CapacityLevel, fullest
from synguard.enforcer.reconcile.desired import DesiredState
from synguard.model import Ban


class Admission:
    """Puts bans into the book as long as there is room, and keeps the wish for the others until there is."""

    def __init__(self, plane: Plane, desired_state: DesiredState) -> None:
        self._plane = plane
        self._desired_state = desired_state
        self._used: Counter[str] = Counter()
        self._waiting: dict[str, Ban] = {}
        self._room = False
        """Whether anything was let go of since those that wait were last tried."""

    def put(self, ban: Ban) -> None:
        """Want this ban in the kernel, instead of one of the same id."""
        self.drop(ban.id)
        place, members = self._plane.place(ban)
        if self._used[place] + members > self._plane.ceiling:
            self._waiting[ban.id] = ban
            return
        self._used[place] += members
        self._desired_state.put(ban)

    def drop(self, ban_id: str) -> None:
        """Want the ban of this id there no more."""
        self._waiting.pop(ban_id, None)
        ban = self._desired_state.drop(ban_id)
        if ban is not None:
            self._free(ban)

    def expire(self, now: datetime, at_most: int) -> list[str]:
        """Let go of bans that have ended, about ``at_most`` of them, and of those that waited; return their ids."""
        expired = self._desired_state.expire(now, at_most)
        for ban in expired:
            self._free(ban)
        late = [ban_id for ban_id, ban in self._waiting.items() if not ban.active(now)]
        for ban_id in late:
            del self._waiting[ban_id]
        if self._room:
            for ban in list(self._waiting.values()):
                self.put(ban)
            self._room = False
        return [*(ban.id for ban in expired), *late]

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
        if not self._waiting:
            return ""
        place = self._plane.place(next(iter(self._waiting.values())))[0]
        bans = "1 ban is" if len(self._waiting) == 1 else f"{len(self._waiting):,} bans are"
        return (
            f"{bans} not in the kernel: {place} holds its ceiling of {self._plane.ceiling:,} "
            f"({self._plane.ceiling_key}); {ADVICE}, or raise it and restart"
        )
