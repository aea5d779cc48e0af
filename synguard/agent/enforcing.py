"""The way from decisions to the kernel: ledger first, then compare, then apply; failures are kept, not lost."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from synguard.addresses import Network
from synguard.agent.clock_set import shortened
from synguard.enforcer.evict import evict, open_here
from synguard.enforcer.plane import Plane, Wanted
from synguard.enforcer.reconciler import Outcome, Reconciler, total_hits
from synguard.errors import LedgerError, NotPermittedError, PlaneError, SensorError, SynguardError
from synguard.ledger import Ledger
from synguard.logs import event
from synguard.model import Ban, Held, Hits
from synguard.readings import SocketTable

log: Final = logging.getLogger(__name__)

HITS_EVERY_S: Final = 5.0
FIRST_RETRY_S: Final = 0.5
LAST_RETRY_S: Final = 30.0
MOST_NAMED: Final = 256
"""Network namespaces remembered as refusing to free sockets."""
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class Enforcing:
    """Keeps the bans that are wanted and brings the plane to them.

    A ban that the ledger cannot take (disk full) is kept here, reaches the plane all the same, where it expires by
    itself, and is offered to the ledger again at every later turn.
    """

    def __init__(self, ledger: Ledger, plane: Plane, reconciler: Reconciler, *, dry_run: bool) -> None:
        self._ledger = ledger
        self._plane = plane
        self._reconciler = reconciler
        self._dry_run = dry_run
        self._unwritten: list[Ban] = []
        self._exceptions: tuple[frozenset[Network], frozenset[Network]] = (frozenset(), frozenset())
        self._wanted = Wanted()
        self._dirty = True
        self._next_expiry = _NEVER
        self._seen_at = _NEVER
        self._hits_due = float("-inf")
        self._retry_at = float("-inf")
        self._retry_s = FIRST_RETRY_S
        self._cannot_evict: set[str] = set()
        self.renewed = True
        """Whether bans were taken over or lapsed since this was last set to False."""
        self.bans: dict[str, Ban] = {}
        self.by_hand: Mapping[str, Ban] = {}
        """In a rehearsal, the bans that stand for real: a person's, or left by an enforcing agent."""
        self.hits: Mapping[str, Hits] = {}
        """Ban id → packets that the kernel stopped, as of the last read-back."""
        self.outcome: Outcome | None = None
        """What the last pass found and did; None while the plane does not hold what is wanted, and in a rehearsal."""
        self.repairs = 0
        """How often something of ours that another tool took away was put back."""
        self.problem = ""
        """Why the plane does not hold what is wanted, one sentence; empty while it does."""
        self.fought = ""
        """Why repairs are put off, one sentence; empty while they are not."""
        self.ledger_problem = ""

    @property
    def plane(self) -> Plane:
        """The plane that holds the bans."""
        return self._plane

    @property
    def reconciler(self) -> Reconciler:
        """What brings the plane to what is wanted."""
        return self._reconciler

    @property
    def let_through(self) -> frozenset[Network]:
        """Who passes in spite of every ban: the exceptions that the plane was given."""
        return self._wanted.allow | self._wanted.proven

    def adopt(self, now: datetime) -> None:
        """Take over the bans that stand in the ledger.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        self.bans = self._ledger.active_bans(now, dry_run=self._dry_run)
        self.bans.update((ban.id, ban) for ban in self._unwritten)
        self.by_hand = self._ledger.active_bans(now) if self._dry_run else {}
        self._dirty = self.renewed = True

    def follow_ledger(self, now: datetime, *, anyway: bool = False) -> None:
        """Take over what other processes wrote since the last look, or whatever is there."""
        try:
            if self._ledger.changed() or anyway:
                self.adopt(now)
        except LedgerError as error:
            self._ledger_failed(error)

    def add(self, bans: Sequence[Ban]) -> None:
        """Want these bans too: in the ledger now, in the plane at the next ``bring``."""
        if bans or self._unwritten:
            self._unwritten.extend(bans)
            self.bans.update((ban.id, ban) for ban in bans)
            self._dirty = self._dirty or bool(bans)
            self._write()

    def bring(self, protected: Iterable[Network], proven: frozenset[Network], now: float, utc: datetime) -> None:
        """Bring the plane to what is wanted; where nothing differs this makes no call but for a look now and then."""
        exceptions = (frozenset(protected), proven)
        if self._dirty or utc < self._seen_at:
            self._clock_was_set_back(utc)
        self._seen_at = utc
        if self._dirty or exceptions != self._exceptions or utc >= self._next_expiry:
            self._exceptions = exceptions
            self._want(utc)
        if now >= self._retry_at:
            self._reconcile(now, utc)

    def _clock_was_set_back(self, utc: datetime) -> None:
        """Give automatic bans that began in what is now the future their own length from now, and no more."""
        expiries = shortened(self.bans.values(), utc)
        if not expiries:
            return
        self.bans |= {id_: replace(self.bans[id_], expires_at=at) for id_, at in expiries.items()}
        self._unwritten = [self.bans[ban.id] for ban in self._unwritten]
        self._dirty = self.renewed = True
        text = f"the clock was set back: {len(expiries)} automatic bans end no later than they were meant to last"
        log.warning("%s", text, extra=event("clock"))
        try:
            unwritten = {ban.id for ban in self._unwritten}
            self._ledger.change_expiries({id_: at for id_, at in expiries.items() if id_ not in unwritten}, utc)
        except LedgerError as error:
            self._ledger_failed(error)
        self._note(utc, "clock", text)

    def _reconcile(self, now: float, utc: datetime) -> None:
        try:
            outcome = self._reconciler.reconcile(self._wanted, utc, latest=lambda: self._latest(utc))
        except (PlaneError, NotPermittedError) as error:
            self._plane_failed(error, now)
            return
        self._retry_s, self.problem = FIRST_RETRY_S, ""
        if outcome.fought and not self.fought:
            log.warning("%s", outcome.fought, extra=event("repair"))
        self.fought = outcome.fought
        self.outcome = None if self._dry_run else outcome
        self.repairs += len(outcome.drift)
        for drift in outcome.drift:
            log.warning("repaired: %s", drift, extra=event("repair"))
            self._note(utc, "repair", drift)
        self._note_hits(outcome.held.values(), now, utc)

    def clear(
        self, half_open: SocketTable, namespace: str = "", opener: Callable[[], socket.socket] = open_here
    ) -> None:
        """Free half-open sockets of banned sources, so that the SYN queue is there for others at once.

        ``opener`` opens a socket in the network namespace that they live in. A kernel that cannot is told about once;
        the sockets then time out by themselves.
        """
        if self._dry_run or self.problem or namespace in self._cannot_evict or not len(half_open):
            return
        try:
            evict(half_open, opener)
        except (PlaneError, SensorError) as error:
            if len(self._cannot_evict) < MOST_NAMED:
                self._cannot_evict.add(namespace)
            log.warning("%s; they will time out by themselves", error, extra=event("eviction"))

    def _latest(self, utc: datetime) -> Wanted:
        """Return what is wanted, with what another process wrote while we waited for its lock."""
        self.follow_ledger(utc)
        if self._dirty:
            self._want(utc)
        return self._wanted

    def _want(self, utc: datetime) -> None:
        standing = len(self.bans)
        self.bans = {id_: ban for id_, ban in self.bans.items() if ban.active(utc)}
        self.renewed = self.renewed or len(self.bans) < standing
        self._next_expiry = min((ban.expires_at for ban in self.bans.values() if ban.expires_at), default=_NEVER)
        # the dry-run plane is given what a real one would be
        bans = (replace(ban, dry_run=False) if self._dry_run else ban for ban in self.bans.values())
        self._wanted = Wanted.of(bans, *self._exceptions, utc)
        self._dirty = False

    def _note_hits(self, held: Iterable[Held], now: float, utc: datetime) -> None:
        if now < self._hits_due or self._dry_run:
            return
        self._hits_due = now + HITS_EVERY_S
        total = total_hits(held)
        if total != self.hits:
            self.hits = total
            try:
                self._ledger.record_hits(total, utc)
            except LedgerError as error:
                self._ledger_failed(error)
            else:
                self._ledger_took()

    def _write(self) -> None:
        try:
            self._ledger.add_bans(self._unwritten)
        except LedgerError as error:
            self._ledger_failed(error)
        else:
            self._unwritten.clear()
            self._ledger_took()

    def _note(self, utc: datetime, kind: str, text: str) -> None:
        try:
            self._ledger.record_action(utc, kind, text)
        except LedgerError as error:
            self._ledger_failed(error)
        else:
            self._ledger_took()

    def _plane_failed(self, error: SynguardError, now: float) -> None:
        self.outcome = None
        self._retry_at = now + self._retry_s
        self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)
        if self.problem != str(error):
            log.error("%s", error, extra=event("plane", plane=self._plane.name))
        self.problem = str(error)

    def _ledger_took(self) -> None:
        if self.ledger_problem and not self._unwritten:
            log.warning("the ledger takes entries again", extra=event("ledger"))
            self.ledger_problem = ""

    def _ledger_failed(self, error: SynguardError) -> None:
        if self.ledger_problem != str(error):
            log.error("%s", error, extra=event("ledger"))
        self.ledger_problem = str(error)
