"""Challenges that are refused are tried again: later each time, and never at once."""

from __future__ import annotations

from synguard.agent.challenge_pause import ChallengePause
from synguard.enforcer.challenge.watch import LONGEST_STOP_S, STOPPED_S


def test_a_refusal_ends_after_a_while_and_the_next_one_lasts_twice_as_long() -> None:
    """It stood until the agent was started again."""
    pause, now = ChallengePause(), 100.0
    lengths = []
    for _ in range(8):
        lengths.append(pause.refuse("cookies are off", now))
        assert pause.refuse("the same again", now + 1) == 0.0
        assert pause.at(now + lengths[-1] - 0.1) == "cookies are off"
        now += lengths[-1]
        assert pause.at(now) == ""
    assert lengths[:3] == [STOPPED_S, 2 * STOPPED_S, 4 * STOPPED_S]
    assert lengths[-2:] == [LONGEST_STOP_S] * 2


def test_after_a_long_time_without_trouble_the_first_pause_is_short_again() -> None:
    pause = ChallengePause()
    assert pause.refuse("x", 0.0) == STOPPED_S
    assert pause.refuse("x", STOPPED_S + LONGEST_STOP_S + 1) == STOPPED_S
