"""The plane that changes nothing: it holds what would be held and records what would be sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import ClassVar, Final

from synguard.enforcer.iptables.set_members import MAX_ELEMENTS, member_lines, place
from synguard.enforcer.limits import ensure_possible
from synguard.enforcer.plane import Actual, Delta
from synguard.enforcer.reconcile.delta import after, without_expired
from synguard.model import Ban, KernelBan

PROGRAM: Final = "the challenge program"
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
        ensure_possible(change, at_interface=True)
        lines = (*member_lines(_of_firewall(change), self._utcnow()), *_of_program(change))
        frame = ("create chains, jumps and sets where missing",) if change.frame else ()
        self.transactions.append(frame + lines)
        self._actual = without_expired(after(self.read(), change), self._utcnow())

    def place(self, ban: Ban | KernelBan) -> tuple[str, int]:
        """Return the set that a ban would be in, and how many members it would have there."""
        return (PROGRAM, len(ban.ports) or 1) if ban.at_interface else place(ban)

    def flush(self) -> None:
        """Hold nothing."""
        self.transactions.append(("remove everything",))
        self._actual = Actual(missing=("nothing has been set up",))


def _of_firewall(change: Delta) -> Delta:
    return replace(
        change,
        add=tuple(ban for ban in change.add if not ban.at_interface),
        remove=tuple(held for held in change.remove if not held.at_interface),
    )


def _of_program(change: Delta) -> Iterator[str]:
    """Yield in words what the program would be given."""
    bans: tuple[tuple[str, Ban | KernelBan], ...] = (
        *(("end", held) for held in change.remove),
        *(("begin", ban) for ban in change.add),
    )
    for what, ban in bans:
        if ban.at_interface:
            header = f" {ban.header}" if ban.header else ""
            ports = f" ports {','.join(map(str, ban.ports))}" if ban.ports else ""
            yield f"{what} {ban.action} {ban.target}{ports}{header}"
