"""An attack stands as it stood unless something about it changes; what is watched for a moment is no change."""

from __future__ import annotations

from synguard.agent.steady_attack import SETTLED_S, SteadyAttack
from synguard.decision.engine import Decision
from synguard.incidents import Phase
from synguard.readings import CounterReading

TICK_S = 0.2


class Attack:
    """An attack of which nothing new is decided, tick by tick."""

    def __init__(self) -> None:
        self.steady = SteadyAttack(lambda now: CounterReading(now, {}))
        self.now = 100.0

    def goes_on(self, seconds: float, *, changing: bool = False, watched: bool = False) -> list[bool]:
        """Let time pass; return whether it stood as it stood, tick by tick."""
        held = []
        for _ in range(round(seconds / TICK_S)):
            self.now += TICK_S
            self.steady.follow(Decision(phase=Phase.ATTACK), self.now, changing=changing, watched=watched)
            held.append(self.steady.holds)
        return held


def test_it_stands_once_nothing_was_decided_for_long() -> None:
    held = Attack().goes_on(2 * SETTLED_S)
    assert not any(held[: round(SETTLED_S / TICK_S)])
    assert held[-1]


def test_a_pause_of_challenges_is_watched_closely_and_no_longer_than_it_lasts() -> None:
    attack = Attack()
    attack.goes_on(2 * SETTLED_S)
    assert not any(attack.goes_on(2 * TICK_S, watched=True))
    assert all(attack.goes_on(SETTLED_S))


def test_somebody_who_rises_keeps_ticks_quick_for_a_while() -> None:
    attack = Attack()
    attack.goes_on(2 * SETTLED_S)
    attack.goes_on(TICK_S, changing=True)
    held = attack.goes_on(2 * SETTLED_S)
    assert not any(held[: round(SETTLED_S / TICK_S) - 1])
    assert held[-1]
