"""How much the agent may still do by itself."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from synguard.policy.models import Budget

WORST_ROOM: Final = 0.25
"""Bans beyond ``bans_per_minute``, as a share of it, for targets worse than half of those that were banned."""
PROVEN_ROOM: Final = 0.25
"""Share of ``active_bans`` that bans on forgeable evidence leave free for those on proven evidence."""


@dataclass(frozen=True, slots=True)
class Request:
    """One more automatic ban, as far as the budget is concerned."""

    forgeable: bool
    excess: float
    """Value over limit of its worst evidence."""
    touched: int = 0
    """Recently served clients who would be refused with the target."""
    served: int = 0
    """Recently served clients in all."""


class BudgetGate:
    """Says whether one more automatic ban may be added; past the budget it says why not.

    Forgeable and proven evidence have a room each, so that forged decoys never spend what stops a real host.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._granted: Mapping[bool, deque[tuple[float, float]]] = {True: deque(), False: deque()}
        """Forgeable or not → (monotonic seconds, excess) of the bans of the last minute."""

    def refusal(self, request: Request, now: float, automatic: Mapping[bool, int]) -> str | None:
        """Return why no ban may be added, or None if one may.

        ``now`` is in monotonic seconds; ``automatic`` is how many automatic bans stand on forgeable evidence (True)
        and on proven evidence (False).
        """
        budget, granted = self.budget, self._granted[request.forgeable]
        while granted and granted[0][0] <= now - 60:
            granted.popleft()
        if len(granted) >= self._room_for(request):
            return f"the budget of {budget.bans_per_minute} bans a minute is spent (budget.bans_per_minute)"
        active_bans = sum(automatic.values())
        if active_bans >= budget.active_bans:
            return f"{active_bans} automatic bans are active, as many as allowed (budget.active_bans)"
        kept = math.ceil(PROVEN_ROOM * budget.active_bans)
        if request.forgeable and automatic[True] + kept >= budget.active_bans > kept:
            return (
                f"{automatic[True]} bans on forgeable evidence are active, the rest is kept free (budget.active_bans)"
            )
        if request.touched > budget.proven_share * request.served:
            return (
                f"it would touch {request.touched} of {request.served} recently served clients, more than "
                f"{budget.proven_share:.0%} (budget.proven_share)"
            )
        return None

    def _room_for(self, request: Request) -> float:
        """Return how many bans a minute may bring: some more where this target is worse than half of those banned."""
        excesses = sorted(excess for _, excess in self._granted[request.forgeable])
        room = self.budget.bans_per_minute
        if len(excesses) < room or request.excess <= excesses[len(excesses) // 2]:
            return room
        return room + math.ceil(WORST_ROOM * room)

    def grant(self, request: Request, now: float) -> None:
        """Count one ban against the budget."""
        self._granted[request.forgeable].append((now, request.excess))
