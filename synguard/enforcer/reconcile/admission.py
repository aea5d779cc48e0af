"""Which of the wanted bans the kernel is asked to hold: all of them, up to the ceilings of its places."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from synguard.ban_columns import microseconds
from synguard.enforcer.limits import BANS_AT_INTERFACE, PORTS_AT_INTERFACE
from synguard.enforcer.plane import Plane
from synguard.enforcer.reconcile.capacity import ADVICE, CapacityLevel, fullest
from synguard.enforcer.reconcile.desired import DesiredState
from synguard.model import Ban
from synguard.packed_bans import PackedBans

if TYPE_CHECKING:
    from synguard.ban_columns import Rows

_Needs: TypeAlias = "tuple[str, int, tuple[int, ...] | None]"
_Group: TypeAlias = "tuple[_Needs, Rows]"
"""What bans need alike, and their rows."""


class Admission:
    """Puts bans into the book as long as there is room, and keeps the wish for the others until there is."""

    def __init__(self, plane: Plane, desired_state: DesiredState) -> None:
        self._plane = plane
        self._desired_state = desired_state
        self._used: Counter[str] = Counter()
        self._ports: Counter[int] = Counter()
        """Ports that bans at the interface name, each with how many of these."""
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
        """Want those bans that there is room for, oldest first, as if they came one by one; return their rows."""
        by_place = defaultdict[str, list[_Group]](list)
        for needs, rows in bans.groups(self._needs):
            by_place[needs[0]].append((needs, rows))
        fitting = [bans.rows[:0], *map(self._count_fitting, by_place.values())]
        found = np.sort(np.concatenate(fitting))
        self._desired_state.put(bans, found)
        return found

    def _count_fitting(self, groups: list[_Group]) -> Rows:
        """Count those bans of one place that there is room for; return their rows."""
        place, _, ports = groups[0][0]
        named = None if ports is None else {port for (*_, ports), _ in groups for port in ports or ()}
        rows = np.concatenate([some for _, some in groups])
        wanted = sum(members * len(some) for (_, members, _), some in groups)
        if wanted <= self._places_left(place, named):
            for (_, members, ports), some in groups:
                self._count(place, members * len(some), ports or ())
            return rows
        of, order = np.repeat(np.arange(len(groups)), [len(some) for _, some in groups]), np.argsort(rows)
        found, too_large = list[int](), set[int]()
        for row, number in zip(rows[order].tolist(), of[order].tolist(), strict=True):
            if number in too_large:
                continue
            (_, members, ports), _ = groups[number]
            if members <= self._places_left(place, ports):
                self._count(place, members, ports or ())
                found.append(row)
            else:
                too_large.add(number)  # what is left only shrinks
                if len(too_large) == len(groups):
                    break
        return np.array(found, np.int64)

    def _needs(self, ban: Ban) -> _Needs:
        """Return where a ban is held, how much it takes there, and for one at the interface the ports that it names."""
        return *self._plane.place(ban), ban.ports if ban.at_interface else None

    def _places_left(self, place: str, ports: Collection[int] | None) -> int:
        if ports is None:
            return max(self._plane.ceiling - self._used[place], 0)
        return max(BANS_AT_INTERFACE - self._used[place], 0) if self._tells_apart(ports) else 0

    def _tells_apart(self, ports: Collection[int]) -> bool:
        return len(self._ports.keys() | set(ports)) <= PORTS_AT_INTERFACE

    def _count(self, place: str, members: int, ports: tuple[int, ...]) -> None:
        self._used[place] += members
        for port in ports if members else ():
            self._ports[port] += members
            if not self._ports[port]:
                del self._ports[port]

    def _free(self, ban: Ban) -> None:
        place, members, ports = self._needs(ban)
        self._count(place, -members, ports or ())
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
        place, _, ports = self._needs(next(iter(self.waiting.values())))
        bans = "1 ban is" if len(self.waiting) == 1 else f"{len(self.waiting):,} bans are"
        if ports is None:
            full = (
                f"{place} holds its ceiling of {self._plane.ceiling:,} ({self._plane.ceiling_key}); {ADVICE}, "
                "or raise it and restart"
            )
        elif not self._tells_apart(ports):
            full = f"the challenge program tells {PORTS_AT_INTERFACE} ports apart; ban on all ports, or remove bans"
        else:
            full = f"the challenge program carries out at most {BANS_AT_INTERFACE:,}; {ADVICE}"
        return f"{bans} not in the kernel: {full}"
