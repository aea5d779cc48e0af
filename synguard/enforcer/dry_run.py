"""The plane that changes nothing: it holds what would be held."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from typing import ClassVar, Final

from synguard.enforcer.held_bans import HeldBans
from synguard.enforcer.iptables.set_members import MAX_ELEMENTS, place
from synguard.enforcer.limits import ensure_possible
from synguard.enforcer.plane import Actual, Delta
from synguard.enforcer.reconcile.delta import after, without_expired
from synguard.model import Ban, KernelBan

PROGRAM: Final = "the challenge program"


class DryRunPlane:
    """Behaves as the sets plane does, in memory; makes no system call but for the time."""

    name: ClassVar[str] = "dry-run"
    show_command: ClassVar[str] = "synguard bans"

    ceiling_key: ClassVar[str] = "ceilings.members"

    def __init__(self, utcnow: Callable[[], datetime], ceiling: int = MAX_ELEMENTS) -> None:
        self._utcnow = utcnow
        self.ceiling = ceiling
        self._actual = self._nothing()

    def check(self) -> None:
        """Return: dry-run needs nothing."""

    def read(self) -> Actual:
        """Return what would be held, as columns of the caller's own."""
        self._actual = without_expired(self._actual, self._utcnow())
        return replace(self._actual, bans=deepcopy(self._actual.bans))

    def apply(self, change: Delta) -> None:
        """Hold the result."""
        if not change:
            return
        ensure_possible(change, at_interface=True)
        self._actual = without_expired(after(self._actual, change, counted=True), self._utcnow())

    def place(self, ban: Ban | KernelBan) -> tuple[str, int]:
        """Return the set that a ban would be in, and how many members it would have there."""
        return (PROGRAM, len(ban.ports) or 1) if ban.at_interface else place(ban)

    def flush(self) -> None:
        """Hold nothing."""
        self._actual = self._nothing()

    @staticmethod
    def _nothing() -> Actual:
        return Actual(bans=HeldBans(), missing=("nothing has been set up",))
