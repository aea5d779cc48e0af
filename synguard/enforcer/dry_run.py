"""The plane that changes nothing: it holds what would be held and records what would be sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import ClassVar, Final

from synguard.enforcer.iptables.set_members import MAX_ELEMENTS, member_lines, place
from synguard.enforcer.limits import ensure_possible
from synguard.enforcer.plane import Actual, Delta
from synguard.enforcer.reconcile.delta import after, without_expired
from synguard.model import Ban, KernelBan

KEPT: Final = 100
"""Transactions remembered; each is as long as the change it records."""


class DryRunPlane:
    """Behaves as the sets plane does, in memory; makes no system call but for the time."""

    name: ClassVar[str] = "dry-run"
    show_command: ClassVar[str] = "synguard bans"

    ceiling_key: ClassVar[str] = "ceilings.members"

    def __init__(self, utcnow: Callable[[], datetime], ceiling: int = MAX_ELEMENTS) -> None:
        self._utcnow = utcnow
        self.ceiling = ceiling
        self._actual = Actual(missing=("nothing has been set up",))
        self.transactions: deque[tuple[str, ...]] = deque(maxlen=KEPT)
        """What would have been sent to ``ipset restore``, latest last; mending the frame is one line of words."""

    def check(self) -> None:
        """Return: dry-run needs nothing."""

    def read(self) -> Actual:
        """Return what would be held."""
        self._actual = without_expired(self._actual, self._utcnow())
        return self._actual

    def apply(self, change: Delta) -> None:
        """Record the transaction and hold its result."""
        if not change:
            return
        ensure_possible(change)
        lines = tuple(member_lines(change, self._utcnow()))
        frame = ("create chains, jumps and sets where missing",) if change.frame else ()
        self.transactions.append(frame + lines)
        self._actual = without_expired(after(self.read(), change), self._utcnow())

    def place(self, ban: Ban | KernelBan) -> tuple[str, int]:
        """Return the set that a ban would be in, and how many members it would have there."""
        return place(ban)

    def flush(self) -> None:
        """Hold nothing."""
        self.transactions.append(("remove everything",))
        self._actual = Actual(missing=("nothing has been set up",))
