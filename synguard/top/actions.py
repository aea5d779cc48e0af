"""Carrying out what a person wishes at the keyboard, the way the verbs ``ban`` and ``unban`` go."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime

from synguard.addresses import format_network
from synguard.errors import SynguardError
from synguard.model import Ban
from synguard.operator.apply import VerbContext
from synguard.operator.ban import BanRequest, Impact, assess, bans_for, impact_lines, read_host_context, refuse_unsafe
from synguard.output.times import both_zones
from synguard.top.view_state import BanWish, UnbanWish, Wish

REASON = "by hand in synguard top"
UNBANNED = "unbanned by hand in synguard top"


class Actions:
    """Weighs wishes and carries them out, each in a fresh look at the host."""

    def __init__(
        self,
        open_context: Callable[[], AbstractContextManager[VerbContext]],
        utcnow: Callable[[], datetime],
    ) -> None:
        self._open_context = open_context
        self._utcnow = utcnow

    def weigh(self, wish: Wish) -> tuple[str, ...]:
        """Return what the wish would hit, one sentence a line; nothing is changed.

        Raises:
            RefusedError: It is unsafe.
            SynguardError: This user may not, or the host cannot be read.
        """
        with self._open_context() as context:
            if isinstance(wish, UnbanWish):
                return self._weigh_unban(wish, context)
            order = _order(wish)
            impacts, warnings = self._impacts(order, context)
            refuse_unsafe(order, impacts)
            return *warnings, *(text for impact in impacts for text in impact_lines(impact, order))

    def carry_out(self, wish: Wish) -> tuple[str, ...]:
        """Do it, and return what was done; everything is weighed anew, since time has passed.

        Raises:
            RefusedError: It is unsafe; nothing was changed.
            SynguardError: It could not be done; says how far it came.
        """
        with self._open_context() as context:
            return self._unban(wish, context) if isinstance(wish, UnbanWish) else self._ban(wish, context)

    def _ban(self, wish: BanWish, context: VerbContext) -> tuple[str, ...]:
        order = _order(wish)
        impacts, _ = self._impacts(order, context)
        refuse_unsafe(order, impacts)
        bans = bans_for(order, impacts, self._utcnow())
        context.applier.ban(bans)
        return tuple(
            f"banned {format_network(one.target)} ({one.scope}, {one.action})"
            + ("" if one.expires_at is None else f" until {both_zones(one.expires_at)}")
            + f", id {one.id}"
            for one in bans
        )

    def _impacts(self, order: BanRequest, context: VerbContext) -> tuple[tuple[Impact, ...], tuple[str, ...]]:
        around, unknown = read_host_context(context.protected, context.ledger.active_bans(self._utcnow()).values())
        return assess(order, around), unknown

    def _weigh_unban(self, wish: UnbanWish, context: VerbContext) -> tuple[str, ...]:
        ban = self._standing(wish, context)
        if ban is None:
            return ("the ledger does not know of it: it is taken out of the kernel",)
        if ban.dry_run:
            return ("a dry-run ban: the kernel does not hold it",)
        again = "the agent may ban it again while it goes on: allow it to prevent that" if ban.evidence else ""
        return tuple(filter(None, (f"it was banned because: {ban.reason}", again)))

    def _unban(self, wish: UnbanWish, context: VerbContext) -> tuple[str, ...]:
        ban = self._standing(wish, context)
        context.applier.unban(() if ban is None else (ban,), UNBANNED)
        if ban is None:
            return (f"took {wish.target} out of the kernel; it was not in the ledger",)
        return (f"removed the ban of {format_network(ban.target)} ({ban.scope}, {ban.action}), id {ban.id}",)

    def _standing(self, wish: UnbanWish, context: VerbContext) -> Ban | None:
        """Return the ban as the ledger has it; None where only the kernel holds it.

        Raises:
            SynguardError: Neither does any more.
        """
        now = self._utcnow()
        active_bans = context.ledger.active_bans(now) | context.ledger.active_bans(now, dry_run=True)
        if wish.ban_id in active_bans:
            return active_bans[wish.ban_id]
        if wish.ban_id not in context.plane.read().bans:
            raise SynguardError(f"the ban of {wish.target} has ended meanwhile; nothing was changed")
        return None


def _order(wish: BanWish) -> BanRequest:
    return BanRequest((wish.target,), wish.lasts_s, wish.scope, reason=REASON)
