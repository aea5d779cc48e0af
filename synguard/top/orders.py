"""Carrying out what a person wishes at the keyboard, the way the verbs ``ban`` and ``unban`` go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from synguard.addresses import format_network
from synguard.agent.hand import Hand
from synguard.agent.manual import Impact, Order, Surroundings, assess, bans_for, impact_lines, refuse_unsafe
from synguard.enforcer.plane import Plane
from synguard.errors import SynguardError
from synguard.ledger import Ledger
from synguard.model import Ban
from synguard.readings import Protected
from synguard.report.moments import both_zones
from synguard.top.view import BanWish, LiftWish, Wish

REASON = "by hand in synguard top"
LIFTED = "lifted by hand in synguard top"


class Reach(Protocol):
    """What an order needs of this host."""

    @property
    def ledger(self) -> Ledger:
        """What we want."""

    @property
    def plane(self) -> Plane:
        """What there is."""

    @property
    def protected(self) -> Protected:
        """Who may never be banned."""

    @property
    def hand(self) -> Hand:
        """Carries orders out."""


class Orders:
    """Weighs wishes and carries them out, each in a fresh look at the host."""

    def __init__(
        self,
        reaching: Callable[[], AbstractContextManager[Reach]],
        look_around: Callable[[Protected, Iterable[Ban]], tuple[Surroundings, str]],
        utcnow: Callable[[], datetime],
    ) -> None:
        self._reaching = reaching
        self._look_around = look_around
        self._utcnow = utcnow

    def weigh(self, wish: Wish) -> tuple[str, ...]:
        """Return what the wish would hit, one sentence a line; nothing is changed.

        Raises:
            RefusedError: It is unsafe.
            SynguardError: This user may not, or the host cannot be read.
        """
        with self._reaching() as reach:
            if isinstance(wish, LiftWish):
                return self._weigh_lifting(wish, reach)
            order = _order(wish)
            impacts, warnings = self._impacts(order, reach)
            refuse_unsafe(order, impacts)
            return *warnings, *(text for impact in impacts for text in impact_lines(impact, order))

    def carry_out(self, wish: Wish) -> tuple[str, ...]:
        """Do it, and return what was done; everything is weighed anew, since time has passed.

        Raises:
            RefusedError: It is unsafe; nothing was changed.
            SynguardError: It could not be done; says how far it came.
        """
        with self._reaching() as reach:
            return self._lift(wish, reach) if isinstance(wish, LiftWish) else self._ban(wish, reach)

    def _ban(self, wish: BanWish, reach: Reach) -> tuple[str, ...]:
        order = _order(wish)
        impacts, _ = self._impacts(order, reach)
        refuse_unsafe(order, impacts)
        bans = bans_for(order, impacts, self._utcnow())
        reach.hand.ban(bans)
        return tuple(
            f"banned {format_network(one.target)} ({one.scope}, {one.action})"
            + ("" if one.expires_at is None else f" until {both_zones(one.expires_at)}")
            + f", id {one.id}"
            for one in bans
        )

    def _impacts(self, order: Order, reach: Reach) -> tuple[tuple[Impact, ...], tuple[str, ...]]:
        around, trouble = self._look_around(reach.protected, reach.ledger.active_bans(self._utcnow()).values())
        unknown = (f"who must be protected is not fully known: {problem}" for problem in reach.protected.problems)
        return assess(order, around), (*unknown, *reach.protected.gaps, *([trouble] if trouble else []))

    def _weigh_lifting(self, wish: LiftWish, reach: Reach) -> tuple[str, ...]:
        ban = self._standing(wish, reach)
        if ban is None:
            return ("the ledger does not know of it: it is taken out of the kernel",)
        if ban.dry_run:
            return ("a would-be ban: the kernel does not hold it",)
        again = "the agent may ban it again while it goes on: allow it to prevent that" if ban.evidence else ""
        return tuple(filter(None, (f"it was banned because: {ban.reason}", again)))

    def _lift(self, wish: LiftWish, reach: Reach) -> tuple[str, ...]:
        ban = self._standing(wish, reach)
        reach.hand.lift(() if ban is None else (ban,), LIFTED)
        if ban is None:
            return (f"took {wish.target} out of the kernel; the ledger did not know of it",)
        return (f"lifted the ban of {format_network(ban.target)} ({ban.scope}, {ban.action}), id {ban.id}",)

    def _standing(self, wish: LiftWish, reach: Reach) -> Ban | None:
        """Return the ban as the ledger has it; None where only the kernel holds it.

        Raises:
            SynguardError: Neither does any more.
        """
        now = self._utcnow()
        standing = reach.ledger.active_bans(now) | reach.ledger.active_bans(now, dry_run=True)
        if wish.ban_id in standing:
            return standing[wish.ban_id]
        if wish.ban_id not in reach.plane.read().bans:
            raise SynguardError(f"the ban of {wish.target} has ended meanwhile; nothing was changed")
        return None


def _order(wish: BanWish) -> Order:
    return Order((wish.target,), wish.lasts_s, wish.scope, reason=REASON)
