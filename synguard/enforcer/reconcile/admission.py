"""Which of the wanted bans the kernel is asked to hold: all of them, up to the ceilings of its places."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import datetime
from typing import Final

from synguard.enforcer.plane import Plane
from synguard.enforcer.reconcile.capacity import ADVICE, CapacityLevel, fullest
from synguard.enforcer.reconcile.desired import DesiredState
from synguard.logs import event
from synguard.model import Ban

log: Final = logging.getLogger(__name__)


class Admission:
    """Puts bans into the book as long as there is room, and keeps the wish for the others until there is.

    What is told is told once as it begins, and once as it is over.
    """

    def __init__(self, plane: Plane, desired_state: DesiredState) -> None:
        self._plane = plane
        self._desired_state = desired_state
        self._used: Counter[str] = Counter()
        self._waiting: dict[str, Ban] = {}
        self._room = False
        """Whether anything was let go of since those that wait were last tried."""
        self._reported_full = self._reported_near = False

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
        self._tell()
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

    def _tell(self) -> None:
        level = self.level
        near, full = bool(level and level.warning), bool(self._waiting)
        if full and not self._reported_full:
            log.error("%s", self.problem, extra=event("ceiling"))
        elif near and not self._reported_near and level is not None:
            log.warning("%s", level.warning, extra=event("ceiling"))
        elif self._reported_full and not full:
            log.info("the kernel holds all bans again", extra=event("ceiling"))
        self._reported_full, self._reported_near = full, near or full
