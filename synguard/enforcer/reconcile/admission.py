"""Which of the wanted bans the kernel is asked to hold: all of them, up to the ceilings of its places."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Final

from synguard.enforcer.limits import BANS_AT_INTERFACE, PORTS_AT_INTERFACE
from synguard.enforcer.plane import Plane
from synguard.enforcer.reconcile.capacity import ADVICE, CapacityLevel, fullest
from synguard.enforcer.reconcile.desired import DesiredState
from synguard.model import Ban
from synguard.packed_bans import PackedBans, microseconds


class Admission:
    """Puts bans into the book as long as there is room, and keeps the wish for the others until there is."""

    def __init__(self, plane: Plane, desired_state: DesiredState) -> None:
        self._plane = plane
        self._desired_state = desired_state
        self._used: Counter[str] = Counter()
        self._ports: Counter[int] = Counter()
        """Ports that bans at the interface name."""
        self.waiting: Final = PackedBans()
        """Bans that there is no room for."""
        self._room = False
        """Whether anything was let go of since those that wait were last tried."""

    def put(self, ban: Ban) -> None:
        """Want one more ban in the kernel; none of its id is wanted."""
        if self._obstacle(ban):
            self.waiting.put(ban)
            return
        self._count(ban, 1)
        self._desired_state.put(ban)

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
            for ban in list(self.waiting.values()):
                if not self._obstacle(ban):
                    self.waiting.discard(ban.id)
                    self.put(ban)
        return expired

    def _obstacle(self, ban: Ban) -> str:
        """Return why there is no room for a ban, or nothing."""
        place, members = self._plane.place(ban)
        if self._used[place] + members > self._plane.ceiling:
            return (
                f"{place} holds its ceiling of {self._plane.ceiling:,} "
                f"({self._plane.ceiling_key}); {ADVICE}, or raise it and restart"
            )
        if ban.at_interface and self._used[place] + members > BANS_AT_INTERFACE:
            return f"the challenge program carries out at most {BANS_AT_INTERFACE:,}; {ADVICE}"
        if ban.at_interface and len(self._ports.keys() | set(ban.ports)) > PORTS_AT_INTERFACE:
            return f"the challenge program tells {PORTS_AT_INTERFACE} ports apart; ban on all ports, or release bans"
        return ""

    def _count(self, ban: Ban, times: int) -> None:
        place, members = self._plane.place(ban)
        self._used[place] += times * members
        for port in ban.ports if ban.at_interface else ():
            self._ports[port] += times
            if not self._ports[port]:
                del self._ports[port]

    def _free(self, ban: Ban) -> None:
        self._count(ban, -1)
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
        waiting = next(iter(self.waiting.values()))
        bans = "1 ban is" if len(self.waiting) == 1 else f"{len(self.waiting):,} bans are"
        return f"{bans} not in the kernel: {self._obstacle(waiting) or 'there is room again, and they come next'}"
