"""The way from decisions to the kernel: ledger first, then compare, then apply; failures are kept, not lost."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from synguard.addresses import Network
from synguard.agent.clock_step import SLACK, shortened
from synguard.agent.ledger_writer import LedgerWriter
from synguard.agent.tracked_bans import EARLIEST, TrackedBans
from synguard.decision.bans import ActiveBans
from synguard.enforcer.plane import Desired, Plane
from synguard.enforcer.reconcile.admission import Admission
from synguard.enforcer.reconcile.outcome import Outcome
from synguard.enforcer.reconcile.read_back import MANY
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.errors import CapacityError, LedgerError, NotPermittedError, PlaneError, SynguardError
from synguard.ledger import Ledger
from synguard.ledger.ban_changes import BanChanges
from synguard.logs import event
from synguard.memory import give_back, many_objects
from synguard.model import NEVER, Ban, Origin, Scope
from synguard.packed_bans import PackedBans

log: Final = logging.getLogger(__name__)

AT_ONCE: Final = 512
"""Bans that one tick takes over from another process, or lets expire; the rest is for the next ticks. The plane has
them already, or has ended them by itself: only our view is late, where all at once would hold up a tick by seconds."""
MOST_ADOPTED: Final = 2_048
"""Bans of which the rows are in memory at a time where all are taken over, between two ticks or before the first."""
MOST_UNWRITTEN: Final = 4_096
"""Bans that a ledger which takes nothing is offered again, beyond which those that are over are kept nowhere."""
MOST_BROUGHT: Final = 1_024
"""Bans that one tick brings to the plane: as many as an attack may have decided in it."""
LEFT_LYING: Final = timedelta(seconds=15)
"""Time after which a list that was noted is settled here, a piece a tick: whoever noted it was killed."""
FIRST_RETRY_S: Final = 0.5
LAST_RETRY_S: Final = 30.0


class Enforcement:  # wide: one view of the bans, in ledger and plane, with what fails on either side
    """Keeps the bans that are wanted and brings the plane to them.

    A ban that the ledger cannot take (disk full) is kept here, reaches the plane all the same, where it expires by
    itself, and is offered to the ledger again at every later turn.
    """

    def __init__(self, ledger: Ledger, plane: Plane, reconciler: Reconciler, *, dry_run: bool) -> None:
        self._ledger = ledger
        self.plane: Final = plane
        self.reconciler: Final = reconciler
        self._dry_run = dry_run
        self.writer: Final = LedgerWriter(ledger)
        self._exceptions: tuple[frozenset[Network], frozenset[Network]] = (frozenset(), frozenset())
        self._tracked = TrackedBans(plane)
        self._changes = {False: BanChanges(dry_run)} | ({True: BanChanges(False)} if dry_run else {})
        """In the ledger, of the bans that stand, and in dry-run of those by hand."""
        self._desired = Desired()
        self._seen_at = NEVER
        self._behind = False
        """Whether the ledger holds what has not been taken over yet."""
        self._arriving_since: datetime | None = None
        self._read_at: datetime | None = None
        self._retry_at = float("-inf")
        self._retry_s = FIRST_RETRY_S
        self._follower: ActiveBans | None = None
        self.outcome: Outcome | None = None
        """What the last pass found; None while the plane does not hold what is wanted, and in dry-run."""
        self.repairs = 0
        """How often something of ours that another tool took away was put back."""
        self.problem = ""
        """Why the plane does not hold what is wanted, one sentence; empty while it does."""
        self.disputed = ""
        """Why repairs are put off, one sentence; empty while they are not."""

    @property
    def allowed(self) -> frozenset[Network]:
        """Who passes in spite of bans of everything too: those who are protected."""
        return self._desired.allow

    @property
    def let_through(self) -> frozenset[Network]:
        """Who passes in spite of every ban: the exceptions that the plane was given."""
        return self._desired.allow | self._desired.proven

    @property
    def bans(self) -> Mapping[str, Ban]:
        """Ban id → ban of those that stand; in dry-run, those that would."""
        return self._tracked.bans

    def automatic(self) -> Iterator[Ban]:
        """Yield the automatic ones of the bans that stand."""
        return self._tracked.automatic()

    @property
    def by_hand(self) -> PackedBans:
        """In dry-run, the bans that stand for real: a person's, or left by an enforcing agent."""
        return self._tracked.by_hand

    @property
    def counts(self) -> Mapping[tuple[Origin, Scope], int]:
        """How many of the bans there are, by who asked for them and what they stop."""
        return self._tracked.counts

    @property
    def admission(self) -> Admission:
        """What keeps bans out of the kernel where it has no room."""
        return self._tracked.admission

    def adopt(self, now: datetime) -> None:
        """Take over the bans that stand in the ledger; where they are enforced, those of a dry-run are over.

        Raises:
            LedgerError: The ledger cannot be read or written.
        """
        if not self._dry_run:
            would_be = self._ledger.active_ids(now, dry_run=True)
            if would_be:
                self._ledger.end_bans(would_be, now, "dry-run is over")
        while self._ledger.settle():
            pass
        while self._take_over(now, MOST_ADOPTED):
            self._tell(now)
        self._behind = False

    def _take_over(self, now: datetime, at_most: int) -> bool:
        """Take over some of what the ledger has; return whether more is left."""
        kept, left = {ban.id for ban in self.writer.unwritten}, False
        with many_objects():
            for by_hand, changes in self._changes.items():
                changes.wrote(kept)
                changed = self._ledger.take_changes(changes, now, at_most)
                self._tracked.follow(changed, by_hand=by_hand, kept=kept)
                left |= changed.left
        return left

    def tell(self, follower: ActiveBans, now: datetime) -> None:
        """Let a view of the active bans follow from now on; bans that were added here it has already."""
        self._follower = follower
        self._tell(now)

    def _tell(self, now: datetime) -> None:
        if self._follower is None:
            return
        arrived, departed = self._tracked.take_changes()
        if arrived or departed:
            self._follower.follow(arrived, departed, now)

    def follow_ledger(self, now: datetime, *, anyway: bool = False) -> None:
        """Take over what other processes wrote since the last look; a long list in pieces, unless ``anyway``.

        A list that is being brought to the kernel beside the agent is waited for; one that was left lying is settled.
        """
        try:
            self._behind = self._ledger.changed() or self._behind
            if anyway:
                self.adopt(now)
            elif self._behind and self._ledger.arriving():
                self._arriving_since = self._arriving_since or now
                if not now - LEFT_LYING < self._arriving_since <= now:
                    self._ledger.settle()
            elif self._behind:
                self._arriving_since = None
                self._behind = self._take_over(now, AT_ONCE)
        except LedgerError as error:
            self.writer.failed(error)
        self._tell(now)

    def add(self, bans: Sequence[Ban], replaced: Iterable[str] = ()) -> None:
        """Want these bans too, and those no more that they replace: in the ledger now, in the plane with ``bring``."""
        dropped = {ban_id for ban_id in replaced if self._tracked.drop(ban_id) is not None}
        if dropped:
            self.writer.unwritten = [one for one in self.writer.unwritten if one.id not in dropped]
        if bans or self.writer.unwritten:
            if len(self.writer.unwritten) > MOST_UNWRITTEN:
                self.writer.unwritten = [ban for ban in self.writer.unwritten if ban.id in self.bans]
            self.writer.unwritten.extend(bans)
            self._tracked.put(PackedBans(bans), known=True)
            self._changes[False].wrote(ban.id for ban in bans)
            self.writer.write()

    def bring(self, protected: Iterable[Network], proven: frozenset[Network], now: float, utc: datetime) -> None:
        """Bring the plane to what is wanted; where nothing differs this makes no call but for a look now and then."""
        exceptions = (frozenset(protected), proven)
        if utc < self._seen_at or self._tracked.newest > self._seen_at + SLACK:
            self._clock_was_set_back(utc)
        self._seen_at = utc
        if self._tracked.unsettled or exceptions != self._exceptions or self._tracked.has_ended(utc):
            self._exceptions = exceptions
            self._want(utc)
        if now >= self._retry_at:
            self._reconcile(now, utc)
        self._tell(utc)

    def _clock_was_set_back(self, utc: datetime) -> None:
        """Give automatic bans that began in what is now the future their own length from now, and no more."""
        self._tracked.newest = EARLIEST
        expiries = shortened(self._tracked.automatic(), utc)
        if not expiries:
            return
        self._tracked.put(PackedBans(replace(self.bans[id_], expires_at=at) for id_, at in expiries.items()))
        self.writer.unwritten = [self.bans.get(ban.id, ban) for ban in self.writer.unwritten]
        text = f"the clock was set back: automatic bans end no later than meant ({len(expiries):,} changed)"
        log.warning("%s", text, extra=event("clock"))
        try:
            unwritten = {ban.id for ban in self.writer.unwritten}
            self._ledger.change_expiries({id_: at for id_, at in expiries.items() if id_ not in unwritten}, utc)
        except LedgerError as error:
            self.writer.failed(error)
        self.writer.note(utc, "clock", text)

    @property
    def busy(self) -> bool:
        """Whether bans wait for the next ticks: those that other processes wrote, some on their way to the plane."""
        return (self._behind and not self.writer.problem) or bool(self.reconciler.left)

    @property
    def on_the_way(self) -> str:
        """How many bans the next ticks bring to the plane, or take out of it, one sentence; empty for none."""
        left = 0 if self._dry_run or self.problem else self.reconciler.left
        return f"bans are on the way to the kernel, up to {left:,}, some a tick: nothing is to be done" if left else ""

    def _is_up_to_date(self, utc: datetime) -> bool:
        """Return whether a read-back would not take for orphans, or for lost, what waits for the next ticks."""
        return (not self._behind or bool(self.writer.problem)) and not self._tracked.desired.has_ended(utc)

    def _reconcile(self, now: float, utc: datetime) -> None:
        left = self.reconciler.left
        try:
            outcome = self.reconciler.reconcile(
                self._desired,
                utc,
                latest=lambda whole: self._latest(utc, whole=whole),
                at_most=MOST_BROUGHT,
                look=self._is_up_to_date(utc),
            )
        except (PlaneError, CapacityError, NotPermittedError) as error:
            self._plane_failed(error, now)
            return
        if left and not self.reconciler.left:
            give_back()  # what was brought in pieces was an object each
        self._retry_s, self.problem, self.disputed = FIRST_RETRY_S, "", outcome.disputed
        self.outcome = None if self._dry_run else replace(outcome, change=replace(outcome.change, add=(), remove=()))
        self.repairs += bool(outcome.drift)
        for drift in outcome.drift:
            log.warning("repaired: %s", drift, extra=event("repair"))
            self.writer.note(utc, "repair", drift)
        self._note_hits(outcome, utc)

    def _latest(self, utc: datetime, *, whole: bool) -> Desired | None:
        """Return what is wanted, with all that another process wrote while we waited for its lock.

        None where that is a long list, which the next ticks take over, unless the ``whole`` must be known.
        """
        try:
            self._behind = self._ledger.changed() or self._behind
            if self._behind and whole:
                self.adopt(utc)
            elif self._behind and (self._ledger.arriving() or self._take_over(utc, AT_ONCE)):
                return None
            self._behind = False
        except LedgerError as error:
            self.writer.failed(error)
        if self._tracked.unsettled:
            self._want(utc)
        return self._desired

    def _want(self, utc: datetime) -> None:
        self._tracked.expire(utc, AT_ONCE)
        self._desired = self._tracked.desired.desired(*self._exceptions)
        self._tracked.unsettled = False

    def _note_hits(self, outcome: Outcome, utc: datetime) -> None:
        """Keep the counts of a read-back."""
        if not self._dry_run and outcome.read_at not in (None, self._read_at):
            self._read_at = outcome.read_at
            if len(outcome.held) >= MANY:
                give_back()  # each of them was an object, or a line of text
            self.writer.count(outcome.held)
        self.writer.write_counts(utc)

    def _plane_failed(self, error: SynguardError, now: float) -> None:
        self.outcome, self._retry_at = None, now + self._retry_s
        self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)
        self.problem = str(error)
