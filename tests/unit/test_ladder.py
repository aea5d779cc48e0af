"""Steps against a target: which work here, and which comes next."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from synguard.decision.ladder import ESCALATE_AFTER, ChallengeState, Step, next_step, steps_here
from synguard.model import Action, Signal
from synguard.policy.models import Steps
from tests.support.bans import ban

ALL = ("challenge", "limit", "drop")
WORKS = ChallengeState(works=True)
FULL = "CPU 0 spends 99% of its time on received packets"


def test_all_steps_work_where_challenges_do() -> None:
    assert steps_here(ALL, WORKS, (80,), Action.REJECT) == (Action.CHALLENGE, Action.LIMIT, Action.REJECT)


def test_only_the_last_works_where_challenges_do_not_on_one_of_the_ports() -> None:
    redirected = ChallengeState(works=True, except_ports=frozenset({8080}))
    assert steps_here(ALL, redirected, (80, 8080), Action.DROP) == (Action.DROP,)
    assert steps_here(ALL, redirected, (), Action.DROP) == (Action.DROP,)
    assert steps_here(ALL, redirected, (80,), Action.DROP)[0] is Action.CHALLENGE
    assert steps_here(("challenge",), ChallengeState(), (80,), Action.DROP) == ()


def test_a_step_has_time_to_bring_relief_before_the_next_is_taken() -> None:
    active_bans = ban("x", "192.0.2.1", action=Action.CHALLENGE)
    actions = (Action.CHALLENGE, Action.LIMIT, Action.DROP)
    soon, later = active_bans.created_at + timedelta(seconds=1), active_bans.created_at + ESCALATE_AFTER
    assert next_step(actions, active_bans, soon, FULL, WORKS).action is Action.CHALLENGE
    assert next_step(actions, active_bans, later, "", WORKS).action is Action.CHALLENGE
    assert next_step(actions, active_bans, later, FULL, WORKS) == Step(
        Action.LIMIT, f"limit after challenge, which brought no relief: {FULL}"
    )


def test_the_last_step_is_followed_by_none() -> None:
    active_bans = ban("x", "192.0.2.1")
    later = active_bans.created_at + ESCALATE_AFTER
    actions = (Action.CHALLENGE, Action.DROP)
    assert next_step(actions, active_bans, later, FULL, WORKS).action is Action.DROP


@pytest.mark.parametrize("steps", [(), ("drop", "challenge"), ("drop", "drop"), ("refuse",)])
def test_a_policy_names_its_steps_from_mild_to_grave(steps: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        Steps.model_validate({"syn_rate": steps})


def test_steps_of_several_signals_are_those_that_any_of_them_allows() -> None:
    steps = Steps(half_open=("drop",), syn_rate=("challenge",))
    assert steps.of((Signal.HALF_OPEN, Signal.SYN_RATE)) == ("challenge", "drop")
    assert steps.of((Signal.HALF_OPEN,)) == ("drop",)
