"""Carrying out a person's orders: ledger first, then kernel, and nothing left half done.

Bans that the kernel did not take are ended in the ledger again, and what they replaced stands again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from synguard.enforcer.filling import bring
from synguard.enforcer.plane import Actual, Desired, Plane
from synguard.enforcer.reconcile.capacity import ensure_capacity, ensure_room, used, used_by
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.enforcer.sysctl import ALWAYS, SYN_COOKIES
from synguard.errors import PlaneError, RefusedError
from synguard.ledger import Ledger
from synguard.ledger.active_drops import ActiveDrop
from synguard.ledger.arrivals import Arrival
from synguard.ledger.rows import maybe_time
from synguard.model import Ban
from synguard.operator.ban import POLICY, describe, new_id
from synguard.operator.ban_list import ListOrder, has_frame, ready, room_of, taken_out
from synguard.readings import Protected
from synguard.units import format_duration

AGENT_PATIENCE_S: Final = 3.0
"""An agent that rests looks at the ledger once a second."""
ACTIONS_RECORDED: Final = 20
"""Bans of one order that get a line of their own among the actions."""


def _silent(_: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class VerbContext:
    """What a verb that changes bans needs of this host."""

    ledger: Ledger
    plane: Plane
    protected: Protected
    applier: BanApplier


class BanApplier:
    """Carries out a person's orders: ledger first, then the same reconciler that the agent runs.

    Each returns the bans as they came to be.
    """

    def __init__(
        self,
        ledger: Ledger,
        plane: Plane,
        reconciler: Reconciler,
        protected: Protected,
        utcnow: Callable[[], datetime],
        cookies_on: Callable[[], bool] = lambda: True,
        refuse: Callable[[], None] = lambda: None,
    ) -> None:
        """``cookies_on`` says whether listeners accept the cookies of challenges by now.

        ``refuse`` raises RefusedError where a person has stopped synguard on this host: who flushes the kernel then
        holds the apply lock.
        """
        self._ledger = ledger
        self._plane = plane
        self._reconciler = reconciler
        self._protected = protected
        self._utcnow = utcnow
        self._cookies_on = cookies_on
        self._refuse = refuse

    def ban(
        self, bans: Sequence[Ban], step: Callable[[str], None] = _silent, renewed: Collection[str] = ()
    ) -> tuple[Ban, ...]:
        """Put the bans into ledger and kernel; those whose ids are ``renewed`` stand already and only get their expiry.

        ``step`` is told what is done next. A renewed ban that another process has ended meanwhile is made anew, with
        another id.

        Raises:
            CapacityError: The kernel would have to hold more than it may; nothing was changed.
            PlaneError: The kernel did not take them; the ledger is back to what it held before.
            LedgerError: They could not be saved; the kernel was not touched.
        """
        self._plane.check()
        now = self._utcnow()
        step("reading the active bans")
        before = self._ledger.active_bans(now)
        ensure_capacity(self._plane, before.values(), [ban for ban in bans if ban.id not in before])
        step("writing the ledger")
        bans = self._written(bans, renewed, now)
        try:
            if any(ban.action.challenges for ban in bans):
                step("waiting for the agent")
                self._wait_for_cookies()
            step("filling the kernel")
            self._settle(guarded=True)
        except BaseException as error:  # an interrupted order must not stay half done either
            self._undo(
                [ban.id for ban in bans], {ban.id: before[ban.id].expires_at for ban in bans if ban.id in before}, error
            )
            raise
        self._note_each("ban", [(ban, f": {ban.reason}") for ban in bans])
        return tuple(bans)

    def ban_list(self, order: ListOrder, step: Callable[[str], None] = _silent) -> ListOrder:
        """Put a long list into ledger and kernel; return it as it came to be.

        The ledger takes all of it or nothing. Of what the kernel lacks when we are killed, the next change puts it in.

        Raises:
            CapacityError, PlaneError, LedgerError: As for ``ban``.
            RefusedError: A person stopped synguard meanwhile; nothing of it is left.
        """
        self._plane.check()
        now = self._utcnow()
        there = used_by(self._plane, self._ledger.active_shapes(now))  # not as it was before a person was asked
        ends = {row.id: row.expires_at for row in self._ledger.active_rows(now)} if order.renewed.bans else {}
        order = order.with_new([one.id for one in order.renewed.bans if one.id not in ends])
        ensure_room(self._plane, there, used(self._plane, order.others) + room_of(self._plane, order.new))
        if not has_frame(self._plane):
            self._settle(guarded=True)
        step("writing the ledger")
        while ended := self._ledger.add_list(order.new, order.others, *order.moved):
            order = order.with_new(ended)
        try:
            step("filling the kernel")
            self._fill(order)
        except BaseException as error:  # an interrupted order must not stay half done either
            self._undo(order.ids, {one.id: maybe_time(ends[one.id]) for one in order.renewed.bans}, error)
            raise
        shown = [*order.others, *order.first(ACTIONS_RECORDED)]
        self._note_each("ban", [(ban, f": {ban.reason}") for ban in shown], len(order.ids))
        return order

    def _fill(self, order: ListOrder) -> None:
        """Bring a list to the kernel, and all that is wanted where columns do not do or others changed some of it."""
        listed, renewed = [*order.new.bans, *order.renewed.bans], {one.id for one in order.renewed.bans}

        def prepared(some: Sequence[Arrival]) -> Callable[[], None]:
            return ready(self._plane, replace(order.new, bans=some), renewed, self._utcnow())

        bring(listed, prepared, self._reconciler.lock, self._may_go_on)
        if order.others or (self._ledger.changed() and not self._stands(listed)):
            self._settle(guarded=True)

    def _may_go_on(self) -> bool:
        self._refuse()
        return True

    def _stands(self, listed: Iterable[Arrival]) -> bool:
        """Return whether no other process ended or moved one of them while we filled."""
        active = {row.id: row.expires_at for row in self._ledger.active_rows(self._utcnow())}
        return all(active.get(one.id, 0) == one.expires_us for one in listed)

    def unban(
        self,
        bans: Sequence[Ban],
        why: str,
        step: Callable[[str], None] = _silent,
        drops: Sequence[ActiveDrop] = (),
        *,
        orphans: bool = False,
    ) -> tuple[Ban, ...]:
        """End bans, and ``drops`` that are columns, in the ledger and take them out of the kernel.

        ``step`` is told what is done next; ``orphans`` says that the kernel holds what the ledger does not know.

        Raises:
            PlaneError: The kernel did not let go of them; the ledger has them ended, so the next change retries.
        """
        self._plane.check()
        step("writing the ledger")
        self._ledger.end_bans([*(ban.id for ban in bans), *(drop.id for drop in drops)], self._utcnow(), why)
        step("emptying the kernel")
        emptied = bool(drops) and self._emptied(drops)  # first: what is left to compare is the less
        if bans or orphans or not emptied:
            self._settle()
        shown = [*bans, *(drop.as_ban(POLICY) for drop in drops[:ACTIONS_RECORDED])]
        self._note_each("unban", [(ban, f", {why}") for ban in shown], len(bans) + len(drops))
        return tuple(bans)

    def _emptied(self, drops: Sequence[ActiveDrop]) -> bool:
        """Take drops out of the kernel; return whether nothing is left to be done for them."""
        if not has_frame(getattr(self._plane, "firewall", self._plane)):
            return False
        with suppress(PlaneError):  # others changed what is there: all of it is compared
            bring(drops, lambda some: taken_out(self._plane, some), self._reconciler.lock, lambda: True)
            if not self._ledger.changed():
                return True
            active = {row.target for row in self._ledger.active_rows(self._utcnow())}
            return active.isdisjoint(drop.target for drop in drops)  # else another process banned one meanwhile
        return False

    def extend_each(self, bans: Sequence[tuple[Ban, float]], longest_s: float) -> tuple[Ban, ...]:
        """Let each ban last its own number of seconds longer, but no longer than ``longest_s`` from now.

        Raises:
            LedgerError: One of them has ended meanwhile; none lasts longer.
            PlaneError: The kernel did not take the new expiry; the ledger holds it, so the next change retries.
        """
        self._plane.check()
        now = self._utcnow()
        latest = now + timedelta(seconds=longest_s)
        longer = [(_extended(ban, by_s, latest), by_s) for ban, by_s in bans if ban.expires_at is not None]
        self._ledger.change_expiries({ban.id: ban.expires_at for ban, _ in longer}, now)
        self._settle()
        for ban, by_s in longer:
            self._note("extend", f"{describe(ban)}, {format_duration(by_s)} longer by hand")
        return tuple(ban for ban, _ in longer)

    def _written(self, bans: Sequence[Ban], renewed: Collection[str], now: datetime) -> Sequence[Ban]:
        """Write bans to the ledger; return them, those that another process has ended meanwhile made anew."""
        again = [ban for ban in bans if ban.id in renewed]
        ended = self._ledger.add_bans([ban for ban in bans if ban.id not in renewed], again)
        if ended:
            anew = {ban.id: replace(ban, id=new_id(), created_at=now) for ban in ended}
            self._ledger.add_bans(list(anew.values()))
            return [anew.get(ban.id, ban) for ban in bans]
        return bans

    def _wait_for_cookies(self) -> None:
        """Wait until the agent has set what challenged clients need, which it does when it has seen the ledger.

        Raises:
            PlaneError: It has not.
        """
        ends_at = time.monotonic() + AGENT_PATIENCE_S
        while not self._cookies_on():
            if time.monotonic() >= ends_at:
                trouble = f"no agent has set {SYN_COOKIES} to {ALWAYS}, without which no challenged client gets in"
                raise PlaneError("challenging", f"{trouble}; see: synguard status")
            time.sleep(0.02)

    def _settle(self, *, guarded: bool = False) -> None:
        """Bring the kernel to what the ledger holds; the proven peers that a running agent let through stay.

        Raises:
            RefusedError: It is ``guarded``, and a person stopped synguard meanwhile.
        """

        def wanted(there: Actual) -> Desired:
            if guarded:
                self._refuse()
            return self._desired(there)

        self._reconciler.reconcile(Desired(), self._utcnow(), full=True, adapt=wanted)

    def _desired(self, there: Actual) -> Desired:
        """Return what is wanted, asked while no other synguard process can apply.

        A ban that another process put into ledger and kernel after we looked would pass for an orphan.
        """
        now = self._utcnow()
        return Desired.of(self._ledger.active_bans(now).values(), self._protected.networks, there.proven, now)

    def _undo(self, ids: Sequence[str], before: Mapping[str, datetime | None], error: BaseException) -> None:
        """Take back bans that the kernel did not take; those that stood ``before`` get their expiry back."""
        now = self._utcnow()
        why = f"not applied: {str(error) or type(error).__name__}"
        replaced = self._ledger.undo([one for one in ids if one not in before], before, now, why, new_id)
        try:
            self._refuse()
        except RefusedError as refusal:  # a panic that begins later ends these too
            self._ledger.end_bans(replaced, now, f"not applied: {refusal}")
            return
        with suppress(PlaneError, RefusedError):  # the kernel may hold a part; what it refused first is reported
            self._settle(guarded=True)

    def _note_each(self, kind: str, shown: Sequence[tuple[Ban, str]], of: int = 0) -> None:
        """Record each of a few bans, and of many the first ones and how many there were."""
        for ban, words in shown[:ACTIONS_RECORDED]:
            self._note(kind, f"{describe(ban)}{words}")
        if (of or len(shown)) > ACTIONS_RECORDED:
            self._note(kind, f"{(of or len(shown)) - ACTIONS_RECORDED} more of the same order")

    def _note(self, kind: str, text: str) -> None:
        self._ledger.record_action(self._utcnow(), kind, text)


def _extended(ban: Ban, by_s: float, latest: datetime) -> Ban:
    if ban.expires_at is None:
        return ban
    return replace(ban, expires_at=max(ban.expires_at, min(ban.expires_at + timedelta(seconds=by_s), latest)))
