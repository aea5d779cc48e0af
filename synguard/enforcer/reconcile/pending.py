"""The bans that passes have to look at: in a pass that compares all, or because they changed since."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from operator import length_hint

from synguard.enforcer.held_bans import HeldBans
from synguard.enforcer.plane import Actual, Delta, Desired
from synguard.enforcer.reconcile.delta import DesiredMembers, desired_members, member_delta
from synguard.enforcer.reconcile.desired import DesiredState
from synguard.model import NEVER


class PendingBans:
    """Ids of bans that may not be held as they are to be, those of now before those that wait."""

    def __init__(self) -> None:
        self.members = DesiredMembers({}, {})
        """What each wanted ban is to hold by itself, as of the last ``note``."""
        self.next_expiry = NEVER
        self.clear()

    def __len__(self) -> int:
        return len(self._ids) + length_hint(self._behind)

    def clear(self) -> None:
        """Know of none."""
        self._ids: list[str] = []
        self._behind: Iterator[str] = iter(())
        """Those that come after: in one text, where 100,000 objects would leave as many holes in memory."""

    def note(self, desired: Desired, known: Actual, now: datetime, *, whole: bool) -> None:
        """Take in the bans that changed; ``whole``: begin anew with all of those that differ from what is known."""
        bans = desired.bans
        if not isinstance(bans, DesiredState):
            self.members = desired_members(bans, now)
            self.next_expiry = min((ban.expires_at or NEVER for ban in self.members.bans.values()), default=NEVER)
            self._ids = [*dict.fromkeys((*self.members.bans, *known.bans))]
            return
        whole |= bans.many_changed
        changed = bans.take_changes()
        self.members, self.next_expiry = bans.members, NEVER
        if whole:
            self._ids, self._behind = [*changed], bans.differing(HeldBans.of(known.bans), changed)
        elif changed:
            self._ids = [*changed, *(ban_id for ban_id in self._ids if ban_id not in changed)]

    def take(
        self, desired: Desired, known: Actual, now: datetime, at_most: int | None, *, seen: bool = False
    ) -> tuple[Delta, frozenset[str]]:
        """Return the change of the first of them, as ``member_delta`` does, and which the kernel has ended."""
        room = None if at_most is None else max(at_most - len(self._ids), 0)
        ids = dict.fromkeys((*self._ids, *islice(self._behind, room)))
        change, expired, self._ids = member_delta(desired, known, now, self.members, ids, at_most, seen=seen)
        return change, expired
