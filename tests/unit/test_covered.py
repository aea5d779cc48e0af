"""An offender under an active ban is not judged anew in each tick, but at once when something changes that counts."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

import pytest

from synguard.decision.ban_times import RepeatOffenders
from synguard.decision.bans import ActiveBans
from synguard.decision.budget import BudgetGate
from synguard.decision.covered import MOST_KNOWN
from synguard.decision.evaluator import Evaluator
from synguard.decision.evaluator_state import EvaluatorState
from synguard.decision.ladder import ChallengeState
from synguard.decision.prefix_aggregation import Offender
from synguard.decision.proven import ProvenPeers
from synguard.detector.assessment import Assessment
from synguard.model import Action, Ban, Evidence, Signal, VerdictKind
from synguard.policy.models import Budget, Policy
from tests.support.manual_clock import START

LOUD = Offender(ip_network("198.51.100.7"), 100.0, (Evidence(Signal.SYN_RATE, 900.0, 64.0, (80,)),))


class Looks(ActiveBans):
    """Active bans that count how often they are searched."""

    def __init__(self) -> None:
        self.number = 0
        super().__init__()

    def gravest(self, *reach: object) -> Ban | None:
        self.number += 1
        return super().gravest(*reach)  # type: ignore[arg-type]


class Attack:
    """One source over its limit for as long as the test lasts, under the challenge that it gets in the first tick."""

    def __init__(self) -> None:
        ids = iter(map(str, range(1000)))
        self.bans = Looks()
        self.state = EvaluatorState(
            ids.__next__, random.Random(1), False, BudgetGate(Budget()), RepeatOffenders({}), ProvenPeers(60, 100),
            active_bans=self.bans, challenge=ChallengeState(works=True),
        )  # fmt: skip
        self.policy, self.item, self.bottleneck, self.seconds = Policy(name="test"), LOUD, "", 0.0
        self.port_mapping: dict[int, tuple[int, ...]] = {}
        self.tick()
        self.tick()

    def tick(self, passed: float = 0.2) -> Evaluator:
        """Judge the source once; ``number`` of the bans is how often they were searched for it."""
        self.seconds, self.bans.number = self.seconds + passed, 0
        assessment = Assessment(self.seconds, bottleneck=self.bottleneck, port_mapping=self.port_mapping)
        evaluator = Evaluator(self.state, assessment, START + timedelta(seconds=self.seconds), None)
        evaluator.evaluate([(self.item, self.policy)])
        return evaluator

    @property
    def ban(self) -> Ban:
        """The challenge of the source."""
        return next(iter(self.state.active_bans.challenge_bans))


def test_what_stands_is_said_again_with_the_latest_figures_and_without_another_look() -> None:
    attack = Attack()
    (before,) = attack.tick().verdicts
    attack.item = replace(LOUD, score=250.0, evidence=(replace(LOUD.evidence[0], value=70_000.0),))
    (verdict,) = attack.tick().verdicts
    assert attack.bans.number == 0
    assert (verdict.kind, verdict.reason) == (VerdictKind.BAN, before.reason)
    assert verdict.reason.startswith(f"covered by ban {attack.ban.id} until")
    assert (verdict.score, verdict.evidence) == (250.0, attack.item.evidence)


def another_port(attack: Attack) -> None:
    attack.item = replace(LOUD, evidence=(replace(LOUD.evidence[0], ports=(443,)),))


def another_signal(attack: Attack) -> None:
    attack.item = replace(LOUD, evidence=(replace(LOUD.evidence[0], signal=Signal.HALF_OPEN),))


def another_policy(attack: Attack) -> None:
    attack.policy = Policy(name="test")


def no_ban(attack: Attack) -> None:
    attack.bans.remove(attack.ban)


def one_more_ban(attack: Attack) -> None:
    attack.bans.add(replace(attack.ban, id="other", target=ip_network("203.0.113.9")))


def other_bans(attack: Attack) -> None:
    attack.state.active_bans = attack.bans = Looks()


def no_challenges(attack: Attack) -> None:
    attack.state.challenge = ChallengeState(why_not="clients do not get in")


def a_bottleneck(attack: Attack) -> None:
    attack.bottleneck = "a CPU takes no more packets"


def a_trial(attack: Attack) -> None:
    attack.state.ends_by = START + timedelta(hours=1)


def a_published_port(attack: Attack) -> None:
    attack.port_mapping = {80: (80, 8080)}


CHANGES: list[Callable[[Attack], None]] = [
    another_port, another_signal, another_policy, no_ban, one_more_ban, other_bans, no_challenges, a_bottleneck,
    a_trial, a_published_port,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_judged_anew_in_the_tick_after_a_change(change: Callable[[Attack], None]) -> None:
    attack = Attack()
    change(attack)
    attack.tick()
    assert attack.bans.number >= 1


def test_a_second_port_is_challenged_at_once() -> None:
    attack = Attack()
    another_port(attack)
    (ban,) = attack.tick().bans
    assert 443 in ban.ports


def test_its_challenge_is_renewed_in_time() -> None:
    attack = Attack()
    ends_at = attack.ban.expires_at
    assert ends_at is not None
    left = (ends_at - START).total_seconds() - attack.seconds
    assert not attack.tick(left - 2.1).bans
    (renewed,) = attack.tick(0.2).bans
    assert renewed.expires_at is not None
    assert renewed.expires_at > ends_at
    assert renewed.action is Action.CHALLENGE


def test_amid_a_cpu_bottleneck_the_next_step_is_taken_when_its_time_has_come() -> None:
    attack = Attack()
    a_bottleneck(attack)
    actions = [ban.action for _ in range(30) for ban in attack.tick().bans]
    assert actions[:1] == [Action.LIMIT]


def test_however_many_there_are_what_is_kept_of_them_is_bounded() -> None:
    attack = Attack()
    everyone = replace(attack.ban, id="all", target=ip_network("0.0.0.0/0"))
    attack.bans.add(everyone)
    for number in range(MOST_KNOWN + 1500):
        attack.item = replace(LOUD, target=ip_network(f"198.18.{number >> 8}.{number & 255}"))
        attack.tick(0.001)
        assert len(attack.state.covered._known) <= MOST_KNOWN
