"""While the agent is in dry-run: whether the kernel still holds the bans that stand for real.

A dry-run agent changes nothing in the kernel and puts nothing back; it says what is no longer there (decision 0001).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from datetime import datetime, timedelta
from typing import Final

from synguard.addresses import format_network
from synguard.enforcer.held_bans import HeldBans
from synguard.enforcer.plane import Actual, PatientPlane, Plane
from synguard.enforcer.reconcile.reconciler import READ_SHARE
from synguard.errors import NotPermittedError, PlaneError
from synguard.packed_bans import PackedBans
from synguard.plain import listed

LOOK_EVERY_S: Final = 5.0
NAMED: Final = 3
_COMING: Final = timedelta(seconds=5)
"""A ban this new may still be on its way from the ledger to the kernel."""
_ENDING: Final = timedelta(seconds=2)
"""A ban this close to its end may be gone already."""


class KernelWatch:
    """Reads the kernel every five seconds while a real ban stands, a piece a tick, and no more than its share.

    Not while ``panic`` stands: the kernel is empty then on purpose, sooner than the agent knows of each ban's end.
    """

    def __init__(
        self,
        plane: Callable[[], Plane],
        active_bans: Callable[[], PackedBans],
        panic: Callable[[], bool] = lambda: False,
    ) -> None:
        self._panic = panic
        self._new_plane = plane
        self._plane: Plane | None = None
        self._standing = active_bans
        self._reading: Generator[None, None, Actual] | None = None
        self._cost_s = 0.0
        self._due_at = float("-inf")
        self.problem = ""
        """Which bans stop nothing, one sentence; empty where all are held or none stands."""
        self.note = ""
        """Why the kernel is not known."""

    def observe(self, _tick: object, now: float, utc: datetime) -> None:
        """Go on reading, or begin where that is due; an onlooker of the agent's ticks."""
        if self._panic() or not any(ban.active(utc) for ban in self._standing().values()):
            self._reading, self.problem, self.note = None, "", ""
            return
        if now < self._due_at and self._reading is None:
            return
        began = time.thread_time()
        try:
            actual = self._step()
        except (PlaneError, NotPermittedError) as error:
            self._reading = self._plane = None
            self.note = f"whether the kernel holds the active bans is not known: {error}"
            self._due_at = now + LOOK_EVERY_S
            return
        self._cost_s += time.thread_time() - began
        if actual is not None:
            self._due_at = now + max(LOOK_EVERY_S, self._cost_s / READ_SHARE)
            self._cost_s = 0.0
            self.note = ""
            self._judge(actual, utc)

    def _step(self) -> Actual | None:
        """Return what the kernel holds once it is read whole."""
        if self._plane is None:
            self._plane = self._new_plane()
        if not isinstance(self._plane, PatientPlane):
            return self._plane.read()
        if self._reading is None:
            self._reading = self._plane.read_in_pieces()
        try:
            next(self._reading)
        except StopIteration as end:
            self._reading = None
            actual: Actual = end.value
            return actual
        return None

    def _judge(self, actual: Actual, utc: datetime) -> None:
        standing, soon = self._standing(), utc + _ENDING
        absent = [
            ban
            for ban in (standing.elsewhere(HeldBans.of(actual.bans).rows) if actual.intact else standing.values())
            if ban.created_at < utc - _COMING and (ban.expires_at or soon) >= soon
        ]
        problem = ""
        if absent:
            names = listed([format_network(ban.target) for ban in absent], NAMED)
            missing = f" ({', '.join(actual.missing[:NAMED])})" if actual.missing else ""
            problem = f"active bans are NOT IN KERNEL and stop nothing: {names}{missing}; see synguard doctor"
        self.problem = problem
