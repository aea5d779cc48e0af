"""The mode that holds now, by the config, ``synguard enable`` and ``panic``, and the way from one to the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

from synguard.addresses import Network
from synguard.agent.ledger_writer import ledger_failures_logged
from synguard.agent.mode_parts import ModeParts
from synguard.clock import boot_id
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.errors import LedgerError, SynguardError
from synguard.ledger import Ledger
from synguard.logs import event
from synguard.model import Ban, Mode, Origin
from synguard.operator.enablement import Enablement, EnablementFile
from synguard.operator.panic import Panic, PanicFile
from synguard.operator.rollback import Rollback

log: Final = logging.getLogger(__name__)

ACTION: Final = "enable"
"""The kind of what is recorded of changes of the mode."""
_GONE: Final = "none of its bans is active"
_GIVEN: Final = {"config": "the config", "option": "an option of synguard run"}
LOOK_EVERY_S: Final = 1.0
"""How soon an order is noticed: one ``stat`` each time."""
RETRY_S: Final = 5.0
"""After what failed, the plane or the ledger, this long passes before the next try."""


class ModeController:  # wide: a small state machine whose states are read side by side
    """Follows what was ordered: nothing is enforced while ``synguard panic`` stands; else as ``enable`` says.

    Without an order, or after an expired trial, the config's mode holds.
    """

    def __init__(
        self,
        orders: EnablementFile | None,
        make: Callable[[Mode], ModeParts],
        ledger: Ledger,
        configured: Mode,
        boot: Callable[[], str] = boot_id,
        panic: PanicFile | None = None,
        *,
        otherwise: str = "config",
    ) -> None:
        self._orders = orders
        self._panic_file = panic
        self.panic: Panic | None = panic.read() if panic else None
        """The order to stop that stands; it outranks the config, options and ``synguard enable``."""
        self._make = make
        self._otherwise = otherwise
        self._ledger = ledger
        self.configured: Final = configured
        self._boot = boot()
        self._order: Enablement | None = None
        self._stamp: tuple[int, int] | None = None
        self._stood: Enablement | None = None
        """The order that was last in force."""
        self._look_due = self._retry_at = float("-inf")
        self._rollback: Rollback | None = None
        self._earlier: frozenset[str] = frozenset()
        self._started = False
        self._unreadable = self._stuck = ""
        self.story = ""
        """One line on the order and what came of it, for the status."""

    @property
    def problem(self) -> str:
        """Why the mode is not what was ordered, one sentence; empty while it is."""
        return self._stuck or self._unreadable

    @property
    def by_order(self) -> bool:
        """Whether it is an order, not the config, by which the agent enforces."""
        return self._stood is not None and self.configured is Mode.DRY_RUN

    @property
    def panic_story(self) -> str:
        """One line on the order to stop; empty where none stands."""
        return self.panic.story if self.panic else ""

    @property
    def by(self) -> str:
        """What gave the mode: ``panic``, ``order``, else ``config`` or ``option``."""
        if self.panic is not None:
            return "panic"
        return "order" if self.by_order else self._otherwise

    def wanted(self, now: float) -> Mode:
        """Return the mode that holds at ``now``; the file is looked at now and then, and always when a trial ends."""
        if now >= self._look_due or (self._stood is not None and not self._stands(now)):
            self._look(now)
            self._look_for_panic()
        if not self._started:
            self._started = True
            self._clean_up_after_expiry(now)
        if self.panic is not None:
            self.story = self.panic.story
            return Mode.DRY_RUN
        if self._stands(now):
            self._stood = self._order
            self.story = _order_text(self._order) if self._order and self.configured is Mode.DRY_RUN else ""
            return Mode.ENFORCE
        return self.configured

    def ends_by(self, now: float, utc: datetime) -> datetime | None:
        """Return when every automatic ban must have ended: the end of a trial, so that the kernel itself keeps it."""
        if self._order is None or not self._order.on_trial or not self._stands(now) or not self.by_order:
            return None
        return utc + timedelta(seconds=self._order.left(now))

    def parts(self, mode: Mode, now: float, utc: datetime) -> ModeParts | None:
        """Return what the mode is made of; None where it is not possible, which is told and tried again.

        Going back to dry-run always is, whatever state the ledger is in.
        """
        if now < self._retry_at:
            return None
        try:
            parts = self._make(mode)
            if mode is Mode.ENFORCE:
                parts.enforcement.adopt(utc)
        except SynguardError as error:
            self._failed(f"synguard enable ordered mode {mode}, which is not possible: {error}", now)
            return None
        self._stuck = ""
        return parts

    def took_over(self, bans: Iterable[Ban]) -> None:
        """Know which automatic bans enforcing has begun with: those from before the order are not its own."""
        since = self._order.since if self._order else None
        self._earlier = frozenset(
            ban.id for ban in bans if ban.origin is Origin.AUTO and (since is None or ban.created_at < since)
        )

    def entered(self, utc: datetime) -> None:
        """Tell that enforcement has begun, by an order or as an order to stop has ended."""
        self._rollback = None
        self._note(f"enforcing now: {self.story or f'as {_GIVEN[self._otherwise]} says'}", utc)

    def leave(self, reconciler: Reconciler, protected: Iterable[Network], now: float, utc: datetime) -> None:
        """Take back what was banned while an order held; what fails is told and tried again by ``follow_up``."""
        order, self._stood = self._stood, None
        if order is None:
            if self.panic is not None:
                self._note(self.panic.story, utc)
            return
        why = f"enforcement was not confirmed by {_clock(order.until)}"
        if self.panic is not None:
            why = "synguard panic"
        elif self._order is None:
            why = "the order to enforce cannot be read" if self._unreadable else "enforcement was disabled"
        kept = self._earlier
        self._rollback = Rollback(self._ledger, lambda: reconciler, lambda ban: ban.id not in kept, why, thorough=True)
        done = self._carry_out(protected, now, utc)
        now_what = _GONE if done else "its bans end by themselves; they could not be removed yet"
        self.story = f"back in dry-run: {why}; {now_what}"
        self._note(self.story, utc)

    def follow_up(self, protected: Iterable[Network], now: float, utc: datetime) -> bool:
        """Finish a rollback that is still to be done; return whether that was done now."""
        if self._rollback is None or now < self._retry_at:
            return False
        why = self._rollback.why
        if not self._carry_out(protected, now, utc):
            return False
        self.story = f"in dry-run: {why}; {_GONE}"
        return True

    def _stands(self, now: float) -> bool:
        return self._order is not None and self._order.stands(self._boot, now)

    def _look(self, now: float) -> None:
        self._look_due = now + LOOK_EVERY_S
        if self._orders is None:
            return
        stamp = self._orders.stamp()
        if stamp == self._stamp and self._order is not None and not self._unreadable:
            return
        if stamp is None and self._order is not None:
            self.story = ""
        self._stamp = stamp
        try:
            self._order, self._unreadable = self._orders.read(), ""
        except LedgerError as error:
            self._order, self._unreadable = None, str(error)

    def _look_for_panic(self) -> None:
        before = self.panic
        self.panic = self._panic_file.read() if self._panic_file else None
        if before is not None and self.panic is None:
            self.story = ""

    def _clean_up_after_expiry(self, now: float) -> None:
        """At a start after a trial that no one confirmed: say so, and roll back what may be left of it."""
        order = self._order
        if order is None or self._stands(now) or self.configured is Mode.ENFORCE:
            return
        why = f"enforcement was not confirmed by {_clock(order.until)}"
        self.story = f"in dry-run: {why}"
        log.warning("%s", self.story, extra=event("mode"))

        def reconciler() -> Reconciler:
            return self._make(Mode.ENFORCE).enforcement.reconciler

        def during(ban: Ban) -> bool:
            return order.since <= ban.created_at and (order.until is None or ban.created_at <= order.until)

        self._rollback = Rollback(self._ledger, reconciler, during, why, thorough=False)

    def _carry_out(self, protected: Iterable[Network], now: float, utc: datetime) -> bool:
        """Return whether the rollback is done."""
        rollback = self._rollback
        if rollback is None:
            return True
        try:
            rollback.carry_out(protected, utc)
        except SynguardError as error:
            self._failed(f"{rollback.why}, and its bans cannot be removed from the kernel: {error}", now)
            return False
        self._rollback, self._stuck = None, ""
        return True

    def _failed(self, text: str, now: float) -> None:
        self._retry_at = now + RETRY_S
        self._stuck = text

    def _note(self, text: str, utc: datetime) -> None:
        log.warning("%s", text, extra=event("mode"))
        with ledger_failures_logged():
            self._ledger.record_action(utc, ACTION, text)


def _order_text(order: Enablement) -> str:
    if order.on_trial:
        return (
            f"on trial until {_clock(order.until)}; unless confirmed from a new connection with "
            "synguard enable --confirm, it ends by itself"
        )
    return (
        f"enabled at {_clock(order.since)} by synguard enable, which outranks the config; synguard enable --off ends it"
    )


def _clock(moment: datetime | None) -> str:
    return "its end" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
