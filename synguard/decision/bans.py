"""What stands, who came back, and how much the agent may still do by itself."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from synguard.addresses import Network
from synguard.detector.columns import halves
from synguard.detector.held import Held, Networks
from synguard.model import Ban, Origin, Scope
from synguard.policy.models import BanTimes, Budget

OFFENDERS_REMEMBERED: Final = 65_536
ENDS_SOON: Final = timedelta(seconds=10)
"""A banned target is judged anew for this long before its ban ends, so that one that goes on is renewed in time."""


class StandingBans:
    """The bans in force, by target; a look-up costs one probe per prefix length in use."""

    def __init__(self, bans: Iterable[Ban] = ()) -> None:
        self._by_target: dict[Network, list[Ban]] = {}
        self._lengths: Counter[tuple[int, int]] = Counter()
        self._held: Held | None = None
        self._held_until = datetime.min.replace(tzinfo=UTC)
        self.automatic = 0
        for ban in bans:
            self.add(ban)

    def add(self, ban: Ban) -> None:
        """Take in one more ban; one of the same target, scope and ports gives way to it."""
        target = ban.target
        bans = self._by_target.setdefault(target, [])
        if not bans:
            self._lengths[target.version, target.prefixlen] += 1
        kept = [old for old in bans if (old.scope, old.ports) != (ban.scope, ban.ports)]
        self._held = None
        self.automatic += _automatic([ban]) - (_automatic(bans) - _automatic(kept))
        bans[:] = [*kept, ban]

    def held(self, now: datetime) -> Held:
        """Return the banned networks as columns, but for bans that end soon: who goes on must be judged anew."""
        if self._held is None or now >= self._held_until:
            self._held, self._held_until = self._columns(now)
        return self._held

    def _columns(self, now: datetime) -> tuple[Held, datetime]:
        whole: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
        new: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
        until = datetime.max.replace(tzinfo=UTC)
        for ban in (ban for bans in self._by_target.values() for ban in bans):
            settled_until = until if ban.expires_at is None else ban.expires_at - ENDS_SOON
            if settled_until > now:
                until = min(until, settled_until)
                reach = whole if ban.scope is Scope.ALL else new
                for port in ban.ports or (0,):
                    width = (ban.target.version, ban.target.prefixlen, port)
                    reach.setdefault(width, []).append(halves(ban.target))
        return Held(_as_columns(whole), _as_columns(new)), until

    def covering(self, target: Network, scope: Scope, ports: tuple[int, ...], now: datetime) -> Ban | None:
        """Return the longest-standing ban at ``now`` that stops all that a ban with this reach would, or None."""
        found: Ban | None = None
        for version, prefixlen in self._lengths:
            if version == target.version and prefixlen <= target.prefixlen:
                for ban in self._by_target.get(target.supernet(new_prefix=prefixlen), ()):
                    if ban.active(now) and _reaches(ban, scope, ports) and _outlasts(ban, found):
                        found = ban
        return found


def _as_columns(networks: Mapping[tuple[int, int, int], list[tuple[int, int]]]) -> Networks:
    pairs = {width: np.array(values, np.uint64) for width, values in networks.items()}
    return {width: (both[:, 0].copy(), both[:, 1].copy()) for width, both in pairs.items()}


def _automatic(bans: list[Ban]) -> int:
    return sum(ban.origin is Origin.AUTO for ban in bans)


def _reaches(ban: Ban, scope: Scope, ports: tuple[int, ...]) -> bool:
    if ban.scope is Scope.ALL:
        return True
    return scope is Scope.NEW and (not ban.ports or (bool(ports) and set(ports) <= set(ban.ports)))


def _outlasts(ban: Ban, other: Ban | None) -> bool:
    if other is None or ban.expires_at is None:
        return True
    return other.expires_at is not None and ban.expires_at > other.expires_at


class Offenders:
    """How often each target was banned and when last; bounded, the longest quiet are forgotten first."""

    def __init__(self, known: Mapping[Network, tuple[int, datetime]]) -> None:
        self._known = dict(sorted(known.items(), key=lambda item: item[1][1])[-OFFENDERS_REMEMBERED:])

    def next_time(self, target: Network, memory_s: float, now: datetime) -> int:
        """Return which time it would be now: 1 for a target not banned within ``memory_s``."""
        times, last = self._known.get(target, (0, now))
        return times + 1 if now - last <= timedelta(seconds=memory_s) else 1

    def note(self, ban: Ban) -> None:
        """Remember one more ban."""
        self._known.pop(ban.target, None)
        self._known[ban.target] = (ban.times, ban.created_at)
        if len(self._known) > OFFENDERS_REMEMBERED:
            del self._known[next(iter(self._known))]


def ban_seconds(times: BanTimes, nth: int, *, forgeable: bool, chance: random.Random) -> float:
    """Return how long the ``nth`` ban of a target lasts: grown, capped, then jittered, never past the cap."""
    first, cap = (times.first_forgeable, times.cap_forgeable) if forgeable else (times.first, times.cap)
    growths = min(nth - 1, 64)  # beyond that every growth has long met the cap
    lasts = min(cap, first * times.growth**growths)
    return max(min(cap, lasts * chance.uniform(1 - times.jitter, 1 + times.jitter)), 1.0)


class BudgetGate:
    """Says whether one more automatic ban may be added; past the budget it says why not."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._granted_at: deque[float] = deque()

    def refusal(self, now: float, *, automatic: int, touched: int, served: int) -> str | None:
        """Return why no ban may be added, or None if one may.

        Args:
            now: Monotonic seconds.
            automatic: Automatic bans that stand.
            touched: Recently served clients whom this ban would touch.
            served: Recently served clients in all.
        """
        while self._granted_at and self._granted_at[0] <= now - 60:
            self._granted_at.popleft()
        if len(self._granted_at) >= self.budget.bans_per_minute:
            return f"the budget of {self.budget.bans_per_minute} bans a minute is spent (budget.bans_per_minute)"
        if automatic >= self.budget.active_bans:
            return f"{automatic} automatic bans stand, as many as allowed (budget.active_bans)"
        if touched and touched > self.budget.proven_share * served:
            return (
                f"it would touch {touched} of {served} recently served clients, more than "
                f"{self.budget.proven_share:.0%} (budget.proven_share)"
            )
        return None

    def grant(self, now: float) -> None:
        """Count one ban against the budget."""
        self._granted_at.append(now)
