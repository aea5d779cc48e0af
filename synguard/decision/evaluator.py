"""One tick's offenders, evaluated one by one: spared, held already, refused, or banned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from synguard.addresses import format_network
from synguard.decision.ban_times import ban_seconds
from synguard.decision.budget import Request
from synguard.decision.evaluator_state import RENEW_WITHIN, EvaluatorState, renewed_from
from synguard.decision.header_drops import HeaderDrops
from synguard.decision.inside import Inside
from synguard.decision.ladder import Step, gravity, next_step, steps_here
from synguard.decision.objections import EXCEPTIONS, Excess, Objection, Objections
from synguard.decision.prefix_aggregation import Offender
from synguard.detector.assessment import Assessment
from synguard.detector.counting import MOST_PORTS
from synguard.model import Action, Ban, Cause, Origin, Scope, Signal, Verdict, VerdictKind
from synguard.policy.models import Policy
from synguard.units import evidence_clause

PROOF_FRESH_S: Final = 0.15
"""A look at completed handshakes counts as one of now for so long: a handshake takes a client about as long."""
PROOF_PATIENCE_S: Final = 0.25
"""A ban waits no longer than this for a look at completed handshakes: a tick or two, where they can be read."""
STANDING_OUT: Final = 0.5
"""Share of the known addresses in a prefix, offenders and served clients, below which offenders stand out."""
NOT_WHOLE: Final = "not banned as a whole: "
MOST_OPENED: Final = 8
"""Prefixes whose members are stopped together without the prefix in one tick, the worst; sorting them takes time."""
MOST_EVALUATED: Final = 1024
"""Targets that get a verdict in one tick."""


class Evaluator:
    """One tick's offenders, evaluated one by one."""

    def __init__(
        self, evaluator_state: EvaluatorState, assessment: Assessment, now: datetime, spoofed: str | None
    ) -> None:
        self._state = evaluator_state
        self._assessment = assessment
        self._now = now
        self._opened = 0
        self._objections = Objections(evaluator_state, assessment, spoofed)
        bans = evaluator_state.active_bans
        in_motion = assessment.bottleneck or evaluator_state.ends_by or bans.header_bans
        rests_on = bans, bans.version, evaluator_state.challenge, assessment.port_mapping
        evaluator_state.covered.begin(None if in_motion else rests_on)
        self.headers = HeaderDrops(evaluator_state, assessment, now)
        self.bans: list[Ban] = []
        self.replaced: list[str] = []
        """Ids of active bans whose target gets another step of the ladder."""
        self.verdicts: list[Verdict] = []
        self.refusals: list[str] = []
        self.excess: list[Excess] = []
        """Connections to be closed of sources that are never cut off."""

    def evaluate(self, items: Sequence[tuple[Offender, Policy]]) -> None:
        """Give a verdict on each target, and a ban where nothing stands against it."""
        self._objections.offenders = items
        for item, policy in items:
            self._evaluate(item, policy)

    def _evaluate(self, item: Offender, policy: Policy) -> None:
        if len(self.verdicts) >= MOST_EVALUATED:
            return
        if stands := self._state.covered.reason(item, policy, self._now):
            self._say(VerdictKind.BAN, item, policy, stands)
            return
        scope = Scope.NEW if item.forgeable or policy.scope == "new" else Scope.ALL
        ports = self._to_close(item.ports) if scope is Scope.NEW else ()
        inside = Inside(item, policy, self._assessment)
        kept: tuple[VerdictKind, Objection | None] = (VerdictKind.WATCH, Objection(self._why_no_step(policy)))
        for number, step in enumerate(self._steps(item, policy, scope, ports)):
            active_ban = self._state.standing(item, scope, ports, step.action, self._now)
            if active_ban is not None:
                covered = f"covered by ban {active_ban.id} until {_until(active_ban)}" + self._why_no_header(item)
                self._say(VerdictKind.BAN, item, policy, covered)
                if number == 0:  # else something stands against the first step, which may change at any moment
                    self._state.covered.keep(item, policy, renewed_from(active_ban), covered)
                return
            kept = self._why_kept_from(step, item, policy, inside, scope)
            if kept[1] is None:
                self._take(step, item, policy, inside, scope, ports)
                return
        kind, objection = kept
        if objection is not None:
            self._say(kind, item, policy, objection.lead + objection.text, objection.cause)
        self._evaluate_parts(item, policy, inside, objection.text if objection else "")

    def _steps(self, item: Offender, policy: Policy, scope: Scope, ports: tuple[int, ...]) -> list[Step]:
        """Return the step to take and, behind it, the milder ones to fall back on where something stands against it."""
        refusal = Action(policy.action)
        if not item.forgeable:
            return [Step(refusal)]
        challenge = self._state.challenge
        actions = steps_here(policy.steps.of(e.signal for e in item.evidence), challenge, ports, refusal)
        if item.everybody:
            actions = tuple(action for action in actions if action is Action.CHALLENGE)
        if not actions:
            return []
        active_ban, bottleneck = self._gravest(item, scope, ports), self._assessment.bottleneck
        if self._header_needs_time(item, actions, active_ban, policy, ports):
            bottleneck = ""
        step = next_step(actions, active_ban, self._now, bottleneck, challenge)
        if not step.action.challenges:
            step = replace(step, why=step.why + self._why_no_header(item))
        milder = [Step(one) for one in reversed(actions) if gravity(one) < gravity(step.action)]
        return [step, *milder]

    def _header_needs_time(
        self, item: Offender, actions: Sequence[Action], active_ban: Ban | None, policy: Policy, ports: tuple[int, ...]
    ) -> bool:
        """Drop headers of the target's SYNs where it is their turn; return whether that needs time to bring relief."""
        wanted = "header" in policy.steps.of(e.signal for e in item.evidence)
        steps, needs_time = self.headers.steps(item.target, ports, actions if wanted else (), active_ban)
        for step in steps:
            if self._why_refused(Request(item.forgeable, _excess(item))):
                return False
            self._ban(step, item, policy, Scope.NEW, ports)
        return needs_time

    def _gravest(self, item: Offender, scope: Scope, ports: tuple[int, ...]) -> Ban | None:
        """Return the active ban that does most to the target, or None."""
        return self._state.active_bans.gravest(item.target, scope, ports, self._now)

    def _why_no_header(self, item: Offender) -> str:
        """Return why no header of a target's SYNs is dropped though it is the turn of that step, as a clause to add."""
        return f"; no header is dropped: {self.headers.why_not}" if item.forgeable and self.headers.why_not else ""

    def _why_no_step(self, policy: Policy) -> str:
        why = f": {self._state.challenge.why_not}" if self._state.challenge.why_not else ""
        return f"not banned: no step of policy {policy.name} works here{why}"

    def _why_kept_from(
        self, step: Step, item: Offender, policy: Policy, inside: Inside, scope: Scope
    ) -> tuple[VerdictKind, Objection | None]:
        """Return the kind of verdict and the reason where this step is not taken; no reason where it is."""
        cut_off = self._objections.why_not_cut_off(item, scope)
        spared = cut_off or self._objections.why_spared(item, policy, inside, step)
        if cut_off:
            self.excess.extend(self._objections.excess(item, policy))
        if spared:
            return VerdictKind.SPARE, spared
        apart = "" if step.action is Action.CHALLENGE else self._objections.why_apart(item, policy, inside)
        return VerdictKind.WATCH, Objection(apart, lead=NOT_WHOLE) if apart else None

    def _take(
        self, step: Step, item: Offender, policy: Policy, inside: Inside, scope: Scope, ports: tuple[int, ...]
    ) -> None:
        refusal = self._why_refused(self._request(item, inside))
        if refusal:
            self.refusals.append(refusal)
            self._say(VerdictKind.WATCH, item, policy, f"not banned: {refusal}")
            return
        waits = item.forgeable and not step.action.challenges
        if waits and self._gravest(item, scope, ports) is None and self._waits_for_proof():
            return
        self._ban(step, item, policy, scope, ports)

    def _evaluate_parts(self, item: Offender, policy: Policy, inside: Inside, why: str) -> None:
        """Judge those in a prefix one by one, where the prefix is not banned: whoever offends, and the heaviest."""
        if item.target.prefixlen == item.target.max_prefixlen:
            return
        if self._objections.carried(item) and not self._stand_out(item):
            return
        for part in item.parts:
            self._evaluate(part, policy)
        if self._objections.carried(item):
            return
        heavy = [part for part in inside.heavy() if part.target != item.target]
        for part in heavy:
            self._evaluate(part, policy)
        if item.forgeable or not inside.fresh or not inside.fills(whole=False):
            return
        kept = self._objections.must_get_through(item, policy)
        if kept is not None and self._opened < MOST_OPENED:
            self._opened += 1
            self._stop_rest(item, policy, inside.rest((one.target for one in heavy), kept, self._state.proven), why)

    def _stop_rest(self, item: Offender, policy: Policy, rest: Iterable[Offender], why: str) -> None:
        """Stop what is left of a prefix network by network: new connections of each, and those that it has."""
        action, ports = Action(policy.action), self._to_close(item.ports)
        why = f"part of {format_network(item.target)} ({item.evidence[0]}), {NOT_WHOLE}{why}"
        for part in rest:
            signal = part.evidence[0].signal
            if self._state.standing(part, Scope.NEW, ports, action, self._now) is None:
                if refusal := self._why_refused(Request(False, _excess(part))):
                    self.refusals.append(refusal)
                    return
                self._ban(Step(action, why), part, policy, Scope.NEW, ports)
            if policy.scope == "auto" and signal is Signal.CONNECTIONS:
                self.excess.append(Excess(part.target, part.ports, 0, of_containers=False))

    def _stand_out(self, item: Offender) -> bool:
        """Return whether the offenders in a prefix are few beside its served clients.

        Where most of its known addresses offend alike, all of it may be forged, and clients with it that are not known.
        """
        served = self._state.proven.count(item.target)
        return not served or item.offending < STANDING_OUT * (item.offending + served)

    def _waits_for_proof(self) -> bool:
        """Return whether completed handshakes must be looked at first: a client may be newer than the last look."""
        evaluator_state, now = self._state, self._assessment.at
        if now - evaluator_state.proved_at <= PROOF_FRESH_S:
            return False
        if evaluator_state.asked_at is None:
            evaluator_state.asked_at = now
        return now - evaluator_state.asked_at < PROOF_PATIENCE_S

    def _to_close(self, ports: tuple[int, ...]) -> tuple[int, ...]:
        """Return the ports that stop what comes to ``ports``; empty for all of them."""
        port_mapping = [self._assessment.port_mapping.get(port, (port,)) for port in ports]
        closed = sorted({published_port for several in port_mapping for published_port in several})
        return tuple(closed) if all(port_mapping) and len(closed) <= MOST_PORTS else ()

    def _why_refused(self, request: Request) -> str | None:
        evaluator_state = self._state
        if evaluator_state.protected.problems:
            return f"automatic bans are suspended: {evaluator_state.protected.problems[0]}"
        return evaluator_state.budget.refusal(
            request, self._assessment.at, evaluator_state.active_bans.automatic_by_kind
        )

    def _request(self, item: Offender, inside: Inside) -> Request:
        proven, touched = self._state.proven, 0
        if not item.forgeable and item.target.prefixlen < item.target.max_prefixlen:
            touched = inside.light(proven)
        return Request(item.forgeable, _excess(item), touched, len(proven))

    def _ban(self, step: Step, item: Offender, policy: Policy, scope: Scope, ports: tuple[int, ...]) -> None:
        evaluator_state = self._state
        framed = "" if item.everybody or step.header else self._objections.why_short(item)
        once = bool(framed or step.header)
        nth = 1 if once else evaluator_state.offenders.next_time(item.target, policy.bans.memory, self._now)
        seconds = ban_seconds(policy.bans, nth, forgeable=item.forgeable, chance=evaluator_state.chance)
        words = (_reason(item, ports), step.why, self._let_through(item, scope, step), framed)
        reason = "; ".join(word for word in words if word)
        ban = Ban(
            id=evaluator_state.new_id(),
            target=item.target,
            scope=scope,
            action=step.action,
            origin=Origin.AUTO,
            policy=policy.name,
            reason=reason,
            created_at=self._now,
            expires_at=evaluator_state.ends_at(self._now, seconds),
            ports=ports,
            score=item.score,
            times=nth,
            evidence=item.evidence,
            dry_run=evaluator_state.dry_run,
            header=step.header,
        )
        all_ports = not step.action.challenges or (evaluator_state.challenge.on(()) and not item.everybody)
        ban = evaluator_state.active_bans.with_ports_of(ban, self._now + RENEW_WITHIN, up_to_all=all_ports)
        evaluator_state.budget.grant(Request(item.forgeable, _excess(item)), self._assessment.at)
        if not once:
            evaluator_state.offenders.note(ban)
        before = evaluator_state.active_bans.same(ban)
        if before is not None and before.action is not ban.action and before.origin is Origin.AUTO:
            self.replaced.append(before.id)
        evaluator_state.active_bans.add(ban)
        self.bans.append(ban)
        self._say(VerdictKind.BAN, item, policy, reason)

    def _let_through(self, item: Offender, scope: Scope, step: Step) -> str:
        """Return how many recently served clients inside a banned prefix keep a way through; empty if none do."""
        refuses_all = scope is Scope.NEW and not (step.action.challenges or step.header)
        if not refuses_all or not item.forgeable or item.target.prefixlen == item.target.max_prefixlen:
            return ""
        count = len(self._state.proven.inside(item.target, EXCEPTIONS))
        served = "recently served client in it keeps" if count == 1 else "recently served clients in it keep"
        return f"{count} {served} a way through" if count else ""

    def _say(self, kind: VerdictKind, item: Offender, policy: Policy, reason: str, cause: Cause = Cause.NONE) -> None:
        self.verdicts.append(Verdict(kind, item.target, item.score, policy.name, reason, item.evidence, cause))


def _excess(item: Offender) -> float:
    return max(evidence.value / evidence.limit for evidence in item.evidence)


def _reason(item: Offender, ports: tuple[int, ...]) -> str:
    if item.everybody:
        return item.everybody
    return evidence_clause(item.evidence, ports)


def _until(ban: Ban) -> str:
    return "a person unbans it" if ban.expires_at is None else f"{ban.expires_at:%H:%M:%S} UTC"
