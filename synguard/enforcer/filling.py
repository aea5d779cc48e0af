"""A long list of drops of everything, brought to the kernel beside an agent, or taken out: in pieces, as columns.

The list is in the ledger before. Whoever compares ledger and kernel holds the apply lock: what began before the list
was written has ended when the lock is had here, and what begins later knows the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from synguard.enforcer.iptables import set_filling
from synguard.enforcer.locks import APPLY_WAIT_S, exclusive
from synguard.memory import in_parts

T = TypeVar("T")

AT_ONCE: Final = 10_000
"""Bans that are brought while the lock is held: others wait for it no longer than a tenth of a second."""


def bring(
    bans: Sequence[T], ready: Callable[[Sequence[T]], Callable[[], None]], lock: Path, may: Callable[[], bool]
) -> None:
    """Bring bans to the kernel, as long as that ``may`` go on, which is asked while the lock is held.

    ``ready`` prepares a piece, before the lock is taken, and returns what applies it.

    Raises:
        PlaneError: The lock was not to be had, or a piece was refused; the pieces before it are in.
    """
    for some in in_parts(bans, AT_ONCE):
        apply = ready(some)
        with exclusive(lock, APPLY_WAIT_S, "another synguard process"):
            if not may():
                return
            apply()


def out_of_ipsets(targets: Iterable[str]) -> Callable[[], None]:
    """Return what takes the drops of these targets out of their ipsets."""
    members = set_filling.bare_members(targets)
    return lambda: set_filling.take_out(members)


def into_ipsets(bans: Iterable[tuple[str, str, int | None]], now: datetime) -> Callable[[], None]:
    """Return what puts drops into their ipsets: (ban id, target as text, UTC seconds of its end, or None)."""
    members = set_filling.members_of(bans, now)
    return lambda: set_filling.put(members)
