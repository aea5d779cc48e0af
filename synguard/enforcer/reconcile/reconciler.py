"""From wanted to actual: read, compare, apply the difference, and tell what others had changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from synguard.enforcer.held_bans import HeldBans, total_hits
from synguard.enforcer.locks import APPLY_WAIT_S, exclusive
from synguard.enforcer.plane import Actual, Delta, Desired, PatientPlane, Plane
from synguard.enforcer.reconcile.delta import after, without
from synguard.enforcer.reconcile.desired import DesiredState
from synguard.enforcer.reconcile.drift import drift
from synguard.enforcer.reconcile.outcome import Outcome
from synguard.enforcer.reconcile.pending import PendingBans
from synguard.enforcer.reconcile.read_back import MANY, ReadBack
from synguard.enforcer.reconcile.rule_changes import RuleChanges
from synguard.errors import PlaneError
from synguard.memory import many_objects
from synguard.model import NEVER, NO_HITS, Hits

READ_EVERY: Final = timedelta(seconds=5)
"""Longest time for which somebody else's change to our rules goes unnoticed, while one read stays cheap."""
READ_UNUSED_EVERY: Final = timedelta(seconds=30)
"""The same as `READ_EVERY` where that can be asked and no ban is there, which is most of an agent's life."""
READ_SHARE: Final = 0.02
"""Share of one core that reading back may cost, twice where others keep changing rules; 100,000 bans take seconds."""
PATIENCE: Final = 3
"""Repairs in a row after which the next ones come ever later: another program is undoing them."""
AT_ONE_GO: Final = 2_048
"""Bans that are brought into an empty kernel at one go: of more than so many at a time all would be objects."""
MOST_PUT_OFF: Final = 200
"""Passes in a row that bring new bans and put off their piece of a look: ten seconds of an attack."""
SLOWEST: Final = timedelta(minutes=5)
"""The longest wait between two repairs."""


class Reconciler:  # wide: what is known of the kernel between two passes, a name each
    """Brings one plane to what is wanted; one lives as long as its agent or verb.

    The first pass reads everything back and so adopts what an earlier process left. Later passes compare with what is
    known from there and make no call where nothing differs; where applying a difference fails, others may have taken
    away what it builds on, so everything is read back and tried once more, unless they keep doing so. Every
    ``read_every``, or more rarely where reading is dear or another program keeps undoing repairs, a pass reads
    everything back again. After a failed apply the next pass reads back first, so that no work is lost.

    Where ``patient_from`` bans or more are there, and the plane can, such a regular look goes on in pieces, one a pass.
    """

    def __init__(
        self,
        plane: Plane,
        lock: Path,
        read_every: timedelta = READ_EVERY,
        patient_from: int = MANY,
        glance: Callable[[str], object] | None = None,
    ) -> None:
        self.plane: Final = plane
        self._changes = RuleChanges(partial(glance, plane.name) if glance else None)
        self.lock: Final = lock
        self._read_every = read_every
        self._patient_from = patient_from
        self._known: Actual | None = None
        self._settled: Desired | None = None
        """What the plane was last brought to; None while it may hold anything."""
        self._settled_at = NEVER
        self._pending = PendingBans()
        self._look: ReadBack | None = None
        """The read-back that is under way in pieces."""
        self._put_off = 0
        """Passes in a row whose piece of a look was put off."""
        self._read_at = self._read_due = NEVER
        self._repairs = 0
        self._failed = False

    @many_objects()
    def reconcile(
        self,
        desired: Desired,
        now: datetime,
        full: bool = False,
        latest: Callable[[bool], Desired | None] | None = None,
        at_most: int | None = None,
        look: bool = True,
        adapt: Callable[[Actual], Desired] | None = None,
    ) -> Outcome:
        """Bring the plane to ``desired``; ``full`` reads everything back first.

        A pass changes no more than ``at_most`` bans, if that is given, unless it exchanges sets for full ones, and
        leaves the rest to the next ones; what was found is told with the first. Without ``look`` a read-back that is
        merely due is put off. ``latest`` is asked again once the lock is held, before a pass that reads back: another
        process may have put bans into ledger and plane while we waited for it, and they would be taken for orphans. It
        is told whether it must answer; with None, where it need not, a read-back is put off. ``adapt`` says what is
        wanted in the light of what is there.

        Raises:
            PlaneError: The plane could not be read or changed; the next pass reads back first.
        """
        if full or self._known is None:
            return self._full_pass(desired, now, latest, adapt, at_most=at_most)
        if look and (
            self._look is not None
            or self._is_read_due(now)
            or (self._repairs <= PATIENCE and self._changes.noticed(now))
        ):
            plane = self.plane
            few = self._look is None and max(len(self._known.bans), len(desired.bans)) < self._patient_from
            if few or not isinstance(plane, PatientPlane):
                return self._full_pass(desired, now, latest, adapt, at_most=at_most, due=True)
            seen = None if self._puts_off(desired) else self._look_on(plane, self._known, now)
            if seen is not None:
                return self._full_pass(desired, now, latest, adapt, seen, at_most=at_most, due=True)
        desired = adapt(self._known) if adapt else desired
        if self._is_settled(desired, now):
            return self._outcome(Delta())
        known = self._known
        try:
            return self._difference(desired, now, known, at_most)
        except PlaneError:  # others may have taken away what the change builds on: look, mend, and try once more
            self._known, self._failed = known, False
            if self._repairs > PATIENCE:  # and if they do so again and again, wait for the read that is put off
                raise
            return self._full_pass(desired, now, latest, adapt, at_most=at_most)

    @property
    def looking(self) -> bool:
        """Whether a read-back is under way in pieces."""
        return self._look is not None

    @property
    def left(self) -> int:
        """How many bans the next passes look at."""
        return len(self._pending)

    def hits(self) -> Mapping[str, Hits]:
        """Return what the kernel counted against each ban, read now: one call, whatever the number of bans.

        Raises:
            PlaneError: The plane could not be read.
        """
        with self._locked():
            actual = self.plane.read()
        return dict.fromkeys((one.ban_id for one in actual.bans.values()), NO_HITS) | total_hits(actual.bans)

    def flush(self) -> None:
        """Remove everything of ours from the plane; the next pass puts back what is wanted then."""
        with self._locked():
            self._drop_look()
            self._pending.clear()
            self._known = self._settled = None
            self.plane.flush()

    def _full_pass(
        self,
        desired: Desired,
        now: datetime,
        latest: Callable[[bool], Desired | None] | None,
        adapt: Callable[[Actual], Desired] | None,
        seen: Actual | None = None,
        *,
        at_most: int | None = None,
        due: bool = False,
    ) -> Outcome:
        """Compare all that is there, which was ``seen`` or is read now, with what is wanted; ``due``: it can wait.

        Where it does wait, what is wanted is compared with what is known.
        """
        took_s = self._look.took_s if self._look is not None else 0.0
        self._drop_look()
        self._read_due = now  # until the read has succeeded
        self._changes.forget()
        with self._locked():
            asked = latest(not due) if latest else desired
            if asked is not None:
                return self._compare(asked, now, adapt, seen, took_s, at_most)
        return self.reconcile(desired, now, False, latest, at_most, look=False, adapt=adapt)

    def _compare(
        self,
        desired: Desired,
        now: datetime,
        adapt: Callable[[Actual], Desired] | None,
        seen: Actual | None,
        took_s: float,
        at_most: int | None,
    ) -> Outcome:
        """Apply what differs from all that is there; the lock is held."""
        known = self._known
        start, before = time.perf_counter(), self._changes.value()
        actual = self.plane.read() if seen is None else seen
        desired = adapt(actual) if adapt else desired
        if isinstance(desired.bans, DesiredState):
            actual = replace(actual, bans=HeldBans.of(actual.bans))
        self._pending.note(desired, actual, now, whole=True)
        piece = None if actual.outdated else at_most or (None if actual.bans else AT_ONE_GO)
        change, expired = self._pending.take(desired, actual, now, piece, seen=seen is None)
        actual = without(actual, expired)
        found: tuple[str, ...] = ()
        if change and not self._failed:
            found = drift(desired, change, known, actual, now)
        rest_s = (took_s + time.perf_counter() - start) / READ_SHARE
        self._read_at, self._read_due = now, now + max(self._read_every, timedelta(seconds=rest_s))
        self._changes.has_read(before, now, rest_s)
        self._apply(change, actual)
        while self.left and at_most is None and self._known is not None:
            self._apply(self._pending.take(desired, self._known, now, piece)[0], self._known)
        self._failed = False
        self._slow_down(known is not None and bool(found), now)
        self._settled, self._settled_at = desired, now
        return self._outcome(change, found)

    def _difference(self, desired: Desired, now: datetime, known: Actual, at_most: int | None) -> Outcome:
        """Apply what differs from what is known to be there, looking at what changed alone; no difference, no call."""
        self._pending.note(desired, known, now, whole=self._settled is None or self._settled.bans is not desired.bans)
        self._settled = None  # until it has succeeded: else all are compared
        change, expired = self._pending.take(desired, known, now, at_most)
        self._known = without(known, expired)
        if change:
            with self._locked():
                self._apply(change, self._known)
        self._settled, self._settled_at = desired, now
        return self._outcome(change)

    def _is_settled(self, desired: Desired, now: datetime) -> bool:
        """Return whether there is nothing to do but for what others may have changed."""
        changed = isinstance(desired.bans, DesiredState) and desired.bans.changed
        if changed or self.left or not self._settled_at <= now < self._pending.next_expiry:
            return False
        return desired is self._settled or desired == self._settled

    def _puts_off(self, desired: Desired) -> bool:
        """Return whether the next piece of a look waits for bans that were decided just now."""
        coming = isinstance(desired.bans, DesiredState) and desired.bans.changed
        self._put_off = self._put_off + 1 if coming else 0
        return 0 < self._put_off <= MOST_PUT_OFF

    def _look_on(self, plane: PatientPlane, known: Actual, now: datetime) -> Actual | None:
        """Take the next piece of a look, or the first; return what is there once it was the last."""
        if self._look is None:
            self._look = ReadBack(plane.read_in_pieces())
        try:
            return self._look.go_on(known, now)
        except BaseException:
            self._look = None
            raise

    def _drop_look(self) -> None:
        if self._look is not None:
            self._look.drop()
            self._look = None

    def _apply(self, change: Delta, actual: Actual) -> None:
        self._known = self._settled = None  # until it has succeeded
        self._failed = True
        if change:
            if self._look is not None:
                self._look.note(change)
            with self._changes.ours():
                self.plane.apply(change)
        self._failed = False
        self._known = after(actual, change) if change else actual

    def _is_read_due(self, now: datetime) -> bool:
        if now < self._read_at:  # the clock was set back
            return True
        unused = self._known is not None and not self._known.bans and self._changes.told
        return now >= (max(self._read_due, self._read_at + READ_UNUSED_EVERY) if unused else self._read_due)

    def _slow_down(self, repaired: bool, now: datetime) -> None:
        """Put off the next read after several repairs in a row: repairing is ours, fighting is not."""
        self._repairs = self._repairs + 1 if repaired else 0
        if self._repairs > PATIENCE:
            wait = self._read_every * 2 ** min(self._repairs - PATIENCE, 10)
            self._read_due = max(self._read_due, now + min(wait, SLOWEST))

    def _outcome(self, change: Delta, found: tuple[str, ...] = ()) -> Outcome:
        known = self._known or Actual()
        read_at = None if self._read_at == NEVER else self._read_at
        return Outcome(
            change, found, known.bans, dict(self._pending.members.covered), known.foreign, read_at, self._disputed()
        )

    def _disputed(self) -> str:
        if self._repairs <= PATIENCE:
            return ""
        return (
            f"another program has undone our rules {self._repairs} times in a row, so they are put back ever more "
            f"patiently, next at {self._read_due:%H:%M:%S} UTC: find it; synguard report names what it changed"
        )

    def _locked(self) -> AbstractContextManager[None]:
        return exclusive(self.lock, APPLY_WAIT_S, "another synguard process")
