"""The mildest effect that works on a target over its limit: challenge, limit, header, drop; each with its reason.

A challenge refuses no one: a source that holds its address connects. So forgeable evidence suffices for it. Steps that
refuse are taken on forgeable evidence only while packets arrive faster than a CPU takes them, or where no challenge
works.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from synguard.model import Action, Ban
from synguard.syn_header import SynHeader

ESCALATE_AFTER: Final = timedelta(seconds=2)
"""A step has so long to bring relief before the next one is taken."""
_GRAVITY: Final = {Action.CHALLENGE: 0, Action.LIMIT: 1, Action.DROP: 2, Action.REJECT: 2}


@dataclass(frozen=True, slots=True)
class ChallengeState:
    """Whether SYNs can be challenged here and now."""

    works: bool = False
    why_not: str = ""
    """One clause; empty while it works, or where challenges are not wanted."""
    known: bool = True
    """False just after a start: no one more is challenged, and who is stays so."""
    except_ports: frozenset[int] = frozenset()
    """Ports on which no challenge works, such as redirected ones; a target on one of them is not challenged."""

    def on(self, ports: Sequence[int]) -> bool:
        """Return whether a target can be challenged on these ports; none stands for all of them."""
        if not self.works:
            return False
        return self.except_ports.isdisjoint(ports) if ports else not self.except_ports


@dataclass(frozen=True, slots=True)
class Step:
    """What is done to a target, and why it is this and nothing milder."""

    action: Action
    why: str = ""
    header: SynHeader | None = None
    """Only SYNs with this header are dropped, and the milder step stays beside it; None for all of them."""


def gravity(action: Action) -> int:
    """Return a number that is larger for what does more to its target."""
    return _GRAVITY[action]


def steps_here(
    steps: Sequence[str], challenge: ChallengeState, ports: Sequence[int], refusal: Action
) -> tuple[Action, ...]:
    """Return the steps of a policy that work here, mildest first; ``refusal`` is what its last step does."""
    able = challenge.on(ports)
    actions = (refusal if step == "drop" else Action(step) for step in steps if step != "header")
    return tuple(action for action in actions if able or not action.challenges)


def next_step(
    actions: Sequence[Action], active_bans: Ban | None, now: datetime, bottleneck: str, challenge: ChallengeState
) -> Step:
    """Return what to do now, where ``active_bans`` is in force; ``bottleneck`` says why a CPU is one, or is empty.

    ``actions`` is what ``steps_here`` returned, and not empty.
    """
    taken = -1 if active_bans is None else _place(actions, active_bans.action)
    if active_bans is None or taken < 0:
        return Step(actions[0], _first_reason(actions[0], challenge))
    if not bottleneck or now - active_bans.created_at < ESCALATE_AFTER or taken + 1 == len(actions):
        return Step(actions[taken], active_bans.reason if taken else _first_reason(actions[0], challenge))
    return Step(
        actions[taken + 1], f"{actions[taken + 1]} after {actions[taken]}, which brought no relief: {bottleneck}"
    )


def is_turn_of_header(actions: Sequence[Action], active_ban: Ban | None, now: datetime, bottleneck: str) -> bool:
    """Return whether what is milder than a drop has had its time and a CPU is still the bottleneck.

    It is never the first step: a challenge or a limit stands beside it, for the SYNs with other headers. Where
    something stands against the limit, its time passes all the same.
    """
    milder = [action for action in actions if action.challenges]
    if not bottleneck or active_ban is None or active_ban.action not in milder:
        return False
    return now - active_ban.created_at >= ESCALATE_AFTER * (len(milder) - milder.index(active_ban.action))


def _place(actions: Sequence[Action], action: Action) -> int:
    """Return the place of the gravest step that is no graver than ``action``; -1 if all are."""
    return max((i for i, one in enumerate(actions) if gravity(one) <= gravity(action)), default=-1)


def _first_reason(action: Action, challenge: ChallengeState) -> str:
    if action is Action.CHALLENGE:
        return "challenged: a client that holds its address connects"
    if action is Action.LIMIT:
        return "challenged at a limited rate, the first step of its policy"
    return f"not challenged: {challenge.why_not}" if challenge.why_not else ""
