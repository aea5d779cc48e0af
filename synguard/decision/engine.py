"""Assessment to verdicts to bans: the entry of this package."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from synguard.addresses import Network
from synguard.decision.ban_times import RepeatOffenders
from synguard.decision.bans import ActiveBans
from synguard.decision.budget import BudgetGate
from synguard.decision.evaluator import MOST_EVALUATED, PROOF_FRESH_S, Evaluator
from synguard.decision.evaluator_state import EvaluatorState
from synguard.decision.everybody import ChallengeOfEverybody, everybody
from synguard.decision.incident import GOES_ON_PPS, IncidentTracker, tally
from synguard.decision.objections import Excess
from synguard.decision.prefix_aggregation import Offender, aggregated_prefixes
from synguard.decision.proven import ProvenPeers
from synguard.decision.scores import Score, ScoreKey, Scores
from synguard.decision.spoofing import spoofed_reason
from synguard.decision.unqueued import unqueued_flood
from synguard.detector.assessment import STRAINED, Assessment, Observation
from synguard.incidents import Incident, Phase
from synguard.model import Ban, FloodKind, Mode, Scope, Signal, Verdict
from synguard.policy.models import Config, Policy
from synguard.units import format_ports

FORESEEN: Final = 25.0
"""Score from which completed handshakes are looked at ahead of the ban that may follow."""
CERTAIN_AFTER: Final = 3.0
"""Holds within which a loud source in a prefix is known for certain; one that is not by then is not loud."""
MOST_LOOKED_UP: Final = 64
"""Targets on their way to a ban that are held against those that stand."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one tick comes to."""

    bans: tuple[Ban, ...] = ()
    replaced: tuple[str, ...] = ()
    """Ids of active bans that end because a new one is another step against the same target."""
    verdicts: tuple[Verdict, ...] = ()
    """One for every offender, whether banned, held already, spared or only watched."""
    flood_verdict: str = ""
    """About the flood as a whole, ``spoofed: …`` or ``slow application: …``, for people."""
    flood_kind: FloodKind = FloodKind.NONE
    """The same, for programs."""
    incident: Incident | None = None
    """The incident under way; with ``ended_at`` set at the tick that ends it."""
    phase: Phase = Phase.CALM
    wants_sampler: bool = False
    wants_proof: bool = False
    """Somebody is about to be banned on evidence that may be forged: completed handshakes should be read now."""
    excess: tuple[Excess, ...] = ()
    """Connections beyond a limit, of sources that are never cut off: they are closed."""
    clients_headers: tuple[str, ...] = ()
    """Ids of active bans of one header that a served client turns out to send."""
    refusals: tuple[str, ...] = ()
    """Why offenders were not banned although nothing spares them: suspension, budget."""


class Engine:
    """Holds scores, proven peers, offenders and the incident between ticks; touches nothing outside itself."""

    def __init__(
        self,
        config: Config,
        policies: Sequence[Policy],
        *,
        new_id: Callable[[], str],
        chance: random.Random,
        offenders: Mapping[Network, tuple[int, datetime]] | None = None,
    ) -> None:
        self._sampling_until = float("-inf")
        self._everybody = ChallengeOfEverybody()
        self._incidents = IncidentTracker(config.incident, new_id)
        self.evaluator_state = EvaluatorState(
            new_id=new_id,
            chance=chance,
            dry_run=config.mode is Mode.DRY_RUN,
            budget=BudgetGate(config.budget),
            offenders=RepeatOffenders(offenders or {}),
            proven=ProvenPeers(config.proven.lifetime, config.proven.at_most, mix=chance.getrandbits(64) | 1),
        )
        self.use(config, policies)

    @property
    def phase(self) -> Phase:
        """Where the incident stands."""
        return self._incidents.phase

    def use(self, config: Config, policies: Sequence[Policy]) -> None:
        """Judge by other policies from now on; what is known of peers, offenders and the incident stays known."""
        self.evaluator_state.budget.budget = config.budget
        self.evaluator_state.proven.limit(config.proven.lifetime, config.proven.at_most, config.pref64)
        self._incidents.levels = config.incident
        self._judge_by(config, policies)

    def set_dry_run(self, dry_run: bool, offenders: Mapping[Network, tuple[int, datetime]]) -> None:
        """Ban for real from now on, or as if; each has bans and repeat offenders of its own, and a budget to spend."""
        self.evaluator_state.dry_run = dry_run
        self.evaluator_state.offenders = RepeatOffenders(offenders)
        self.evaluator_state.active_bans = ActiveBans()
        self.evaluator_state.budget = BudgetGate(self.evaluator_state.budget.budget)

    def _judge_by(self, config: Config, policies: Sequence[Policy]) -> None:
        self._policies = {policy.name: policy for policy in policies}
        self._sampler_linger_s = config.sampler.linger
        self.scores = Scores({p.name: {signal: p.hold.of(signal) for signal in Signal} for p in policies})

    def decide(self, assessment: Assessment, now: datetime) -> Decision:
        """Return what to do about one tick."""
        if assessment.completed is not None:
            self.evaluator_state.proven.add(assessment.completed, assessment.at)
            self.evaluator_state.asked_at = None
            self.evaluator_state.proved_at = assessment.at
        self.scores.advance(assessment.observations, assessment.elapsed, lambda one: self._is_quick(one, assessment))
        state = self.evaluator_state
        state.served_headers.settle(state.proven, assessment.at)
        spoofed = spoofed_reason(assessment, self._everybody.follow(state.active_bans, assessment, now))
        evaluator = Evaluator(state, assessment, now, spoofed)
        clients_headers = evaluator.headers.sent_by_clients()
        for ban in clients_headers:
            state.active_bans.remove(ban)
        everyone = everybody(assessment, spoofed, self._policies.values(), state, now)
        offenders = [*everyone, *self._worst()]
        evaluator.evaluate(offenders)
        unqueued = unqueued_flood(assessment)
        sources = sum(max(evidence.sources for evidence in item.evidence) for item, _ in offenders)
        added = tally(evaluator.verdicts, len(evaluator.bans), sources, spoofed or "")
        if unqueued is not None:
            added = replace(added, kind=added.kind or unqueued.kind, note=added.note or unqueued.text, pps=unqueued.pps)
        slow = _slow_application(assessment) if assessment.slow_application else ""
        said = (
            (FloodKind.SPOOFED, spoofed),
            (FloodKind.SLOW_APPLICATION, _crowded(assessment) or slow),
            (unqueued.flood, unqueued.text) if unqueued else (FloodKind.NONE, ""),
        )
        flood_kind, flood_verdict = next(((kind, text) for kind, text in said if text), (FloodKind.NONE, ""))
        incident = self._incidents.follow(assessment, added, now)
        return Decision(
            bans=tuple(evaluator.bans),
            replaced=tuple(evaluator.replaced),
            verdicts=tuple(evaluator.verdicts),
            flood_verdict=flood_verdict,
            flood_kind=flood_kind,
            incident=incident,
            phase=self.phase,
            wants_sampler=self._wants_sampler(assessment),
            wants_proof=self._wants_proof(assessment.at, now),
            excess=tuple(evaluator.excess),
            clients_headers=tuple(ban.id for ban in clients_headers),
            refusals=tuple(evaluator.refusals),
        )

    def _is_quick(self, one: Observation, assessment: Assessment) -> bool:
        """Return whether a target floods a full queue and a challenge is all that it would get."""
        if one.signal is not Signal.SYN_RATE or assessment.pressed.isdisjoint(one.ports):
            return False
        steps = self._policies[one.policy].steps.of((one.signal,))
        return "challenge" in steps and self.evaluator_state.challenge.on(one.ports)

    def _wants_proof(self, at: float, now: datetime) -> bool:
        """Return whether a ban on forgeable evidence waits for a look at handshakes, or soon would."""
        if self.evaluator_state.asked_at is not None:
            return True
        return at - self.evaluator_state.proved_at > PROOF_FRESH_S / 2 and self.nearing(now)

    def rising(self, now: datetime) -> bool:
        """Return whether somebody is over a limit for certain, no offender yet, and under no ban that stands."""
        return self._any_uncovered(self.scores.rising(), now)

    def nearing(self, now: datetime) -> bool:
        """Return whether somebody has come some way to a ban on forgeable evidence, and is under none that stands."""
        return self._any_uncovered(self.scores.forgeable_above(FORESEEN), now)

    def _any_uncovered(self, scores: Iterable[tuple[ScoreKey, Score]], now: datetime) -> bool:
        """Return whether one of these targets has no ban that would spare it one of its own; or they are very many.

        Of many sources that are challenged together some seem to rise at every moment, for chance.
        """
        return any(number >= MOST_LOOKED_UP or not self._covered(*one, now) for number, one in enumerate(scores))

    def _covered(self, key: ScoreKey, score: Score, now: datetime) -> bool:
        forgeable, ports = key.signal.forgeable, score.latest.ports
        scope = Scope.NEW if forgeable or self._policies[key.policy].scope == "new" else Scope.ALL
        state = self.evaluator_state
        ban = state.active_bans.covering(key.target, scope, ports, now, for_served=not forgeable)
        return ban is not None and state.stands_long(ban, now)

    def _worst(self) -> list[tuple[Offender, Policy]]:
        """Return what the offenders come to, worst first; those left out are still there at the next tick."""
        covering = [
            (item, self._policies[name])
            for (name, _), offenders in sorted(self._offenders_of().items())
            for item in aggregated_prefixes(offenders, self._policies[name])
        ]
        covering = [(self._with_offenders(item, policy), policy) for item, policy in covering]
        covering.sort(key=lambda pair: max(e.value / e.limit for e in pair[0].evidence), reverse=True)
        return covering[:MOST_EVALUATED]

    def _with_offenders(self, item: Offender, policy: Policy) -> Offender:
        """Return a target that has parts with the number of those inside it that offend, over the limit yet or not."""
        if not item.parts:
            return item
        keys = [ScoreKey(policy.name, item.target, evidence.signal) for evidence in item.evidence]
        return replace(item, offending=max(map(len, self.scores.inside(keys).values())))

    def proven_exceptions(self, now: datetime) -> frozenset[Network]:
        """Return the proven peers that need a way through the active bans: those inside a ``new`` ban of a prefix."""
        return frozenset(self.evaluator_state.proven.inside_any(self.evaluator_state.active_bans.closed_prefixes(now)))

    def _offenders_of(self) -> Mapping[tuple[str, bool], list[Offender]]:
        """Return offenders by policy and by whether forgeable, each with all such signals that are over their limit."""
        grouped: dict[tuple[str, Network, bool], list[Score]] = {}
        offenders = list(self.scores.offenders())
        few = self._carried_by_few(offenders)
        for key, score in offenders:
            if key not in few:
                grouped.setdefault((key.policy, key.target, key.signal.forgeable), []).append(score)
        by_kind: dict[tuple[str, bool], list[Offender]] = {}
        for (policy, target, forgeable), scores in grouped.items():
            by_kind.setdefault((policy, forgeable), []).append(
                Offender(
                    target=target,
                    score=max(score.points for score in scores),
                    evidence=tuple(score.evidence for score in scores),
                    addresses=max(score.latest.addresses for score in scores),
                    alike=next((score.latest.alike for score in scores if score.latest.alike is not None), None),
                )
            )
        return by_kind

    def _carried_by_few(self, offenders: Iterable[tuple[ScoreKey, Score]]) -> set[ScoreKey]:
        """Return the prefixes that are over a limit only through a few sources that are about to be offenders.

        A loud source is known for certain a little later than the sum of many; without this its quiet neighbours
        would be banned with it in between.
        """
        prefixes = {key: score for key, score in offenders if self._policies[key.policy].prefixes.is_prefix(key.target)}
        few = set()
        for key, loud in self.scores.inside(prefixes).items():
            rules, target, score = self._policies[key.policy].prefixes, key.target, prefixes[key]
            rest = score.mean - sum(child.mean for child in loud)
            if score.seconds > CERTAIN_AFTER * self._policies[key.policy].hold.of(key.signal):
                continue
            if len(loud) < rules.sources_for(target.prefixlen, rules.family_of(target)) and rest <= score.latest.limit:
                few.add(key)
        return few

    def _wants_sampler(self, assessment: Assessment) -> bool:
        strained = assessment.fullest >= STRAINED or assessment.flood.overflowing
        goes_on = assessment.flood.held_pps >= GOES_ON_PPS or unqueued_flood(assessment) is not None
        if strained or goes_on or any(key.signal is Signal.SYN_RATE for key, _ in self.scores.offenders()):
            self._sampling_until = assessment.at + self._sampler_linger_s
        return assessment.at < self._sampling_until


def _crowded(assessment: Assessment) -> str:
    if not assessment.crowded:
        return ""
    ports = format_ports(tuple(sorted(assessment.crowded)))
    return f"connection flood: port {ports} serves no others while few sources hold most of its connections"


def _slow_application(assessment: Assessment) -> str:
    slow = [pressure for pressure in assessment.pressure if not pressure.accepting]
    names = ", ".join(f"port {p.port}" + (f" ({p.process})" if p.process else "") for p in slow) or "a listener"
    return f"slow application: the accept queue of {names} is full; this is no flood, and no one is banned for it"
