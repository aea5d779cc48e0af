"""Whether an attack stands as it stood: then ticks come as seldom as on a calm host, with looks at counters between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from synguard.agent.quiet import REFUSED, SIGNS
from synguard.decision.engine import Decision
from synguard.errors import SynguardError
from synguard.readings import CounterReading

SETTLED_S: Final = 2.0
"""So long nothing has been decided anew, and no one is on the way to a ban."""
TIMES: Final = 2.0
"""As many times what is usual, and …"""
SOME_PPS: Final = 500.0
"""… so many a second more, are a surge: sources that nothing stops yet."""
STALE_S: Final = 1.0
"""A look this long after the one before says nothing of what is usual."""


class SteadyAttack:
    """Follows what is decided and how many SYNs the host has to turn away.

    A surge brings the next tick as soon as without it; so does every change that a tick finds.
    """

    def __init__(self, counters: Callable[[float], CounterReading]) -> None:
        self._counters = counters
        self.holds = False
        """Whether nothing has been decided anew for long, no one is on the way to a ban, and nothing is watched."""
        self._changed_at = float("-inf")
        self._state: object = None
        self._at, self._turned_away, self._usual_pps = float("-inf"), 0, 0.0

    def follow(self, decision: Decision, now: float, *, changing: bool, watched: bool = False) -> None:
        """Take in what was decided.

        ``changing`` is whether someone is on the way to a ban for another reason; ``watched``, whether ticks must be
        quick for this moment, as while challenges pause: that changes nothing about the attack.
        """
        state = decision.phase, decision.flood_kind, bool(decision.refusals)
        anew = decision.bans or decision.replaced or decision.excess
        if anew or changing or state != self._state:
            self._changed_at = now
        self._state = state
        self.holds = now - self._changed_at >= SETTLED_S and not watched

    def surged(self, now: float) -> bool:
        """Return whether far more SYNs are turned away than at the last look; a failure to look is a change too."""
        try:
            values = self._counters(now).values
        except SynguardError:
            return True
        turned_away = sum(values.get(name, 0) for name in (*SIGNS, REFUSED))
        passed, more = now - self._at, turned_away - self._turned_away
        self._at, self._turned_away = now, turned_away
        if not 0 < passed < STALE_S:
            return False
        usual, self._usual_pps = self._usual_pps, max(more, 0) / passed
        return self._usual_pps > TIMES * usual + SOME_PPS
