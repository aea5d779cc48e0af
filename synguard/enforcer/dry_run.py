"""The plane that changes nothing: it holds what would be held and records what would be sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import ClassVar, Final

from synguard.enforcer.diff import after, without_lapsed
from synguard.enforcer.limits import ensure_possible
from synguard.enforcer.members import member_lines
from synguard.enforcer.plane import Actual, Change

KEPT: Final = 100
"""Transactions remembered; each is as long as the change it records."""


class DryRunPlane:
    """Behaves as the sets plane does, in memory; makes no system call but for the time."""

    name: ClassVar[str] = "dry-run"
    show_command: ClassVar[str] = "synguard bans"

    def __init__(self, utcnow: Callable[[], datetime]) -> None:
        self._utcnow = utcnow
        self._actual = Actual(missing=("nothing has been set up",))
        self.transactions: deque[tuple[str, ...]] = deque(maxlen=KEPT)
        """What would have been sent to ``ipset restore``, latest last; mending the frame is one line of words."""

    def check(self) -> None:
        """Return: a rehearsal needs nothing."""

    def read(self) -> Actual:
        """Return what would be held."""
        self._actual = without_lapsed(self._actual, self._utcnow())
        return self._actual

    def apply(self, change: Change) -> None:
        """Record the transaction and hold its result."""
        if not change:
            return
        ensure_possible(change)
        lines = tuple(member_lines(change, self._utcnow()))
        frame = ("create chains, jumps and sets where missing",) if change.frame else ()
        self.transactions.append(frame + lines)
        self._actual = without_lapsed(after(self.read(), change), self._utcnow())

    def flush(self) -> None:
        """Hold nothing."""
        self.transactions.append(("remove everything",))
        self._actual = Actual(missing=("nothing has been set up",))
