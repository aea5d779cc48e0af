"""Carrying out a person's orders: ledger first, then kernel, and nothing left half done.

Bans that the kernel did not take are ended in the ledger again, and what they replaced stands again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from synguard.agent.manual import describe, new_id
from synguard.enforcer.plane import Plane, Wanted
from synguard.enforcer.reconciler import Outcome, Reconciler
from synguard.errors import PlaneError
from synguard.ledger import Ledger
from synguard.model import Ban
from synguard.readings import Protected
from synguard.units import format_duration


@dataclass(frozen=True, slots=True)
class Settled:
    """What an order came to."""

    bans: tuple[Ban, ...]
    outcome: Outcome


class Hand:
    """Carries out a person's orders: ledger first, then the same reconciler that the agent runs."""

    def __init__(
        self, ledger: Ledger, plane: Plane, reconciler: Reconciler, protected: Protected, utcnow: Callable[[], datetime]
    ) -> None:
        self._ledger = ledger
        self._plane = plane
        self._reconciler = reconciler
        self._protected = protected
        self._utcnow = utcnow

    def ban(self, bans: Sequence[Ban]) -> Settled:
        """Put the bans into ledger and kernel.

        Raises:
            PlaneError: The kernel did not take them; the ledger is back to what it held before.
            LedgerError: They could not be saved; the kernel was not touched.
        """
        self._plane.check()
        now = self._utcnow()
        before = self._ledger.active_bans(now)
        self._ledger.add_bans(bans)
        try:
            outcome = self._settle()
        except BaseException as error:  # an interrupted order must not stay half done either
            self._take_back(bans, before, str(error) or type(error).__name__)
            raise
        for ban in bans:
            self._note("ban", f"{describe(ban)}: {ban.reason}")
        return Settled(tuple(bans), outcome)

    def lift(self, bans: Sequence[Ban], why: str) -> Settled:
        """End the bans in the ledger and take them out of the kernel.

        Raises:
            PlaneError: The kernel did not let go of them; the ledger has them ended, so the next change retries.
        """
        self._plane.check()
        self._ledger.end_bans([ban.id for ban in bans], self._utcnow(), why)
        outcome = self._settle()
        for ban in bans:
            self._note("unban", f"{describe(ban)}, {why}")
        return Settled(tuple(bans), outcome)

    def extend(self, bans: Sequence[Ban], by_s: float, longest_s: float) -> Settled:
        """Let the bans last ``by_s`` longer than they would, but no longer than ``longest_s`` from now.

        Raises:
            PlaneError: The kernel did not take the new expiry; the ledger holds it, so the next change retries.
        """
        return self.extend_each([(ban, by_s) for ban in bans], longest_s)

    def extend_each(self, bans: Sequence[tuple[Ban, float]], longest_s: float) -> Settled:
        """Let each ban last its own number of seconds longer, in one change of the kernel; else as ``extend``.

        Raises:
            PlaneError: As for ``extend``.
        """
        self._plane.check()
        now = self._utcnow()
        latest = now + timedelta(seconds=longest_s)
        longer = [(_extended(ban, by_s, latest), by_s) for ban, by_s in bans if ban.expires_at is not None]
        for ban, _ in longer:
            self._ledger.change_expiry(ban.id, ban.expires_at, now)
        outcome = self._settle()
        for ban, by_s in longer:
            self._note("extend", f"{describe(ban)}, {format_duration(by_s)} longer by hand")
        return Settled(tuple(ban for ban, _ in longer), outcome)

    def _settle(self) -> Outcome:
        """Bring the kernel to what the ledger holds; the proven peers that a running agent let through stay."""
        return self._reconciler.reconcile(Wanted(), self._utcnow(), full=True, latest=self._wanted)

    def _wanted(self) -> Wanted:
        """Return what is wanted, asked while no other synguard process can apply.

        A ban that another process put into ledger and kernel after we looked would pass for an orphan.
        """
        proven, now = self._plane.read().proven, self._utcnow()
        return Wanted.of(self._ledger.active_bans(now).values(), self._protected.networks, proven, now)

    def _take_back(self, bans: Sequence[Ban], before: Mapping[str, Ban], why: str) -> None:
        """End bans that the kernel did not take, and let stand again what they replaced."""
        now = self._utcnow()
        self._ledger.end_bans([ban.id for ban in bans], now, f"not applied: {why}")
        still = self._ledger.active_bans(now)
        replaced = [replace(ban, id=new_id()) for ban in before.values() if ban.id not in still and ban.active(now)]
        if replaced:
            self._ledger.add_bans(replaced)
        with suppress(PlaneError):  # the kernel may hold a part of the order; what it refused first is told
            self._settle()

    def _note(self, kind: str, text: str) -> None:
        self._ledger.record_action(self._utcnow(), kind, text)


def _extended(ban: Ban, by_s: float, latest: datetime) -> Ban:
    if ban.expires_at is None:
        return ban
    return replace(ban, expires_at=max(ban.expires_at, min(ban.expires_at + timedelta(seconds=by_s), latest)))
