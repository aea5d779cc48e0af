"""One tick's offenders, evaluated one by one: spared, held already, refused, or banned."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from synguard.addresses import NetworkIndex, format_network
from synguard.decision.bans import ActiveBans, RepeatOffenders, ban_seconds
from synguard.decision.budget import BudgetGate, Request
from synguard.decision.incident import Tally
from synguard.decision.inside import Inside
from synguard.decision.prefix_aggregation import Offender
from synguard.decision.proven import ProvenPeers
from synguard.decision.spoofing import MEANINGFUL_SHARE
from synguard.detector.assessment import Assessment
from synguard.detector.counting import MOST_PORTS
from synguard.model import Action, Ban, Origin, Scope, Signal, Verdict, VerdictKind
from synguard.policy.models import Policy
from synguard.readings import Protected
from synguard.units import format_duration, format_ports

RENEW_WITHIN: Final = timedelta(seconds=2)
"""A ban this close to its end whose target is still condemned is renewed, so that no gap opens."""
PROOF_FRESH_S: Final = 0.15
"""A look at completed handshakes counts as one of now for so long: a handshake takes a client about as long."""
PROOF_PATIENCE_S: Final = 0.25
"""A ban waits no longer than this for a look at completed handshakes: a tick or two, where they can be read."""
SHORTEST: Final = timedelta(seconds=1)
"""A ban just before the end of a trial lasts this long all the same."""
ROUNDING: Final = timedelta(milliseconds=500)
"""By how much the end of a trial, counted anew in every tick, may seem to move."""
OWN_HEADERS: Final = 0.5
"""A source fewer of whose SYNs bear the header of a forged flood is not the tool that sends it."""
MOST_EVALUATED: Final = 1024
"""Targets that get a verdict in one tick."""
EXCEPTIONS: Final = 4096
"""Proven peers that keep a way through one banned prefix; a prefix with more of them is not banned."""


@dataclass(slots=True)
class EvaluatorState:
    """What a verdict on a condemned target depends on, beside the evidence; lives as long as the engine."""

    new_id: Callable[[], str]
    chance: random.Random
    dry_run: bool
    budget: BudgetGate
    offenders: RepeatOffenders
    proven: ProvenPeers
    active_bans: ActiveBans = field(default_factory=ActiveBans)
    proved_at: float = float("-inf")
    """Monotonic seconds of the last look at completed handshakes."""
    asked_at: float | None = None
    """Since when completed handshakes are wanted that have not been read; None where they are not wanted."""
    protected: Protected = field(default_factory=lambda: Protected({}))
    protected_index: NetworkIndex = field(default_factory=lambda: NetworkIndex(()))
    ends_by: datetime | None = None
    """No automatic ban lasts beyond this: the end of a trial of enforcement. None without one."""

    def stands_long(self, ban: Ban, now: datetime) -> bool:
        """Return whether a standing ban needs no renewal yet, or could not be renewed for longer."""
        if ban.expires_at is None or ban.expires_at - now > RENEW_WITHIN:
            return True
        return self.ends_by is not None and ban.expires_at >= self.ends_by - ROUNDING

    def ends_at(self, now: datetime, seconds: float) -> datetime:
        """Return when an automatic ban of this length ends."""
        ends_at = now + timedelta(seconds=seconds)
        return ends_at if self.ends_by is None else min(ends_at, max(self.ends_by, now + SHORTEST))

    def protect(self, protected: Protected) -> None:
        """Take in who may never be banned from now on."""
        if protected != self.protected:
            self.protected = protected
            self.protected_index = NetworkIndex(protected.networks)


class Evaluator:
    """One tick's offenders, evaluated one by one."""

    def __init__(
        self, evaluator_state: EvaluatorState, assessment: Assessment, now: datetime, spoofed: str | None
    ) -> None:
        self._state = evaluator_state
        self._assessment = assessment
        self._now = now
        self._spoofed = spoofed
        self._sources = 0
        self._steady: dict[Signal, float] = {}
        self.bans: list[Ban] = []
        self.verdicts: list[Verdict] = []
        self.refusals: list[str] = []

    def evaluate(self, items: Sequence[tuple[Offender, Policy]]) -> None:
        """Give a verdict on each target, and a ban where nothing stands against it."""
        for item, policy in items:
            self._sources += max(evidence.sources for evidence in item.evidence)
            for evidence in item.evidence if _is_prefix(item, policy) else ():
                self._steady[evidence.signal] = self._steady.get(evidence.signal, 0.0) + evidence.value
        for item, policy in items:
            self._evaluate(item, policy)

    def _evaluate(self, item: Offender, policy: Policy) -> None:
        if len(self.verdicts) >= MOST_EVALUATED:
            return
        scope = Scope.NEW if item.forgeable or policy.scope == "new" else Scope.ALL
        ports = self._to_close(item.ports) if scope is Scope.NEW else ()
        active_bans = self._state.active_bans.covering(item.target, scope, ports, self._now)
        if active_bans is not None and self._state.stands_long(active_bans, self._now):
            self._say(VerdictKind.BAN, item, policy, f"held by ban {active_bans.id} until {_until(active_bans)}")
            return
        inside = Inside(item, policy, self._assessment)
        spared = self._why_spared(item, policy, inside)
        if spared:
            self._say(VerdictKind.SPARE, item, policy, spared)
            self._evaluate_parts(item, policy, inside)
            return
        apart = self._why_apart(item, policy, inside)
        if apart:
            self._say(VerdictKind.WATCH, item, policy, f"not banned as a whole: {apart}")
            self._evaluate_parts(item, policy, inside)
            return
        refusal = self._why_refused(item, inside)
        if refusal:
            self.refusals.append(refusal)
            self._say(VerdictKind.WATCH, item, policy, f"not banned: {refusal}")
            return
        if item.forgeable and active_bans is None and self._waits_for_proof():
            return
        self._ban(item, policy, scope, ports)

    def _evaluate_parts(self, item: Offender, policy: Policy, inside: Inside) -> None:
        """Judge those in a prefix one by one, where the prefix is not banned: whoever offends, and the heaviest."""
        if item.target.prefixlen == item.target.max_prefixlen:
            return
        for part in item.parts:
            self._evaluate(part, policy)
        if self._carried(item):
            return
        for part in inside.heavy():
            if part.target != item.target:
                self._evaluate(part, policy)

    def _carried(self, item: Offender) -> bool:
        """Return whether SYN cookies serve clients through what this target does."""
        flood = self._assessment.flood
        return item.forgeable and flood.cookies_sent_pps > 0 and not flood.dropped_pps

    def _why_apart(self, item: Offender, policy: Policy, inside: Inside) -> str | None:
        """Return why a prefix is not stopped as a whole although it is over a limit, or None if it is."""
        if item.target.prefixlen == item.target.max_prefixlen:
            return None
        if not inside.fills():
            return "too little of it takes part"
        if not item.forgeable:
            light = inside.light(self._state.proven)
            return f"{_clients(light)} in it have only a few connections" if light else None
        served = self._state.proven.count(item.target)
        if self._carried(item) and served and _is_prefix(item, policy):
            return f"SYN cookies carry the flood, and {_clients(served)} live in it"
        return None

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

    def tally(self) -> Tally:
        """Return what the tick adds to the incident."""
        kind = None
        if self._spoofed:
            kind = "spoofed-flood"
        elif any(not item.signal.forgeable for verdict in self.verdicts for item in verdict.evidence):
            kind = "connection-flood"
        elif self.verdicts:
            kind = "syn-flood"
        spared = sum(verdict.kind is VerdictKind.SPARE for verdict in self.verdicts)
        return Tally(kind, self._sources, len(self.bans), spared, self._spoofed or "")

    def _why_spared(self, item: Offender, policy: Policy, inside_it: Inside) -> str | None:
        target, evaluator_state = item.target, self._state
        covering = evaluator_state.protected_index.covering(target)
        if covering is not None:
            return f"protected: {evaluator_state.protected.networks[covering]}"
        inside = evaluator_state.protected_index.inside(target)
        if inside is not None:
            return f"it holds {format_network(inside)}, protected: {evaluator_state.protected.networks[inside]}"
        if not item.forgeable:
            return None
        return self._why_doubted(item, policy, inside_it)

    def _why_doubted(self, item: Offender, policy: Policy, inside_it: Inside) -> str | None:
        """Return why forgeable evidence does not suffice against this target, or None if it does."""
        target, evaluator_state = item.target, self._state
        proven = evaluator_state.proven.inside(target, EXCEPTIONS + 1)
        if proven and self._proven_alone(item, inside_it, len(proven)):
            seen_at = evaluator_state.proven.seen_at(proven[0]) or self._assessment.at
            ago = format_duration(max(self._assessment.at - seen_at, 0.0))
            return f"proven: completed a handshake {ago} ago, and half-open sockets and SYNs can be forged"
        if len(proven) > EXCEPTIONS:
            return f"more than {EXCEPTIONS} recently served clients live in it"
        if self._spoofed and _is_prefix(item, policy) and self._share(item) < MEANINGFUL_SHARE:
            return f"with its like it carries only {self._share(item):.1%} of a flood whose sources are forged"
        return None

    def _proven_alone(self, item: Offender, inside: Inside, proven: int) -> bool:
        """Return whether the target is over its limits only through addresses that completed a handshake."""
        share = inside.unproven_share(self._state.proven)
        if item.target.prefixlen == item.target.max_prefixlen or share is None:
            return proven >= item.addresses
        return all(share * evidence.value <= evidence.limit for evidence in item.evidence)

    def _share(self, item: Offender) -> float:
        """Return how much of what is steady in the flood all the prefixes over a limit carry together.

        Addresses hardly seen are left out: who forges them would make every prefix look small.
        """
        flood, spread = self._assessment.flood, self._assessment.dispersion
        steady = 1 - spread.scattered if spread is not None else 1.0
        syn_pps = spread.pps if spread is not None and spread.pps else flood.syn_pps
        of = {Signal.SYN_RATE: syn_pps * steady, Signal.HALF_OPEN: float(flood.half_open)}
        shares = (self._steady.get(one.signal, one.value) / of[one.signal] for one in item.evidence if of[one.signal])
        return min(max(shares, default=1.0), 1.0)

    def _why_refused(self, item: Offender, inside: Inside) -> str | None:
        evaluator_state = self._state
        if evaluator_state.protected.problems:
            return f"automatic bans are suspended: {evaluator_state.protected.problems[0]}"
        return evaluator_state.budget.refusal(
            self._request(item, inside), self._assessment.at, evaluator_state.active_bans.automatic_by_kind
        )

    def _request(self, item: Offender, inside: Inside) -> Request:
        proven, touched = self._state.proven, 0
        if not item.forgeable and item.target.prefixlen < item.target.max_prefixlen:
            touched = inside.light(proven)
        return Request(item.forgeable, _excess(item), touched, len(proven))

    def _ban(self, item: Offender, policy: Policy, scope: Scope, ports: tuple[int, ...]) -> None:
        evaluator_state = self._state
        framed = self._may_be_framed(item)
        nth = 1 if framed else evaluator_state.offenders.next_time(item.target, policy.bans.memory, self._now)
        seconds = ban_seconds(policy.bans, nth, forgeable=item.forgeable, chance=evaluator_state.chance)
        reason = _reason(item, ports) + self._let_through(item, scope) + framed
        ban = Ban(
            id=evaluator_state.new_id(),
            target=item.target,
            scope=scope,
            action=Action(policy.action),
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
        )
        evaluator_state.budget.grant(Request(item.forgeable, _excess(item)), self._assessment.at)
        if not framed:
            evaluator_state.offenders.note(ban)
        evaluator_state.active_bans.add(ban)
        self.bans.append(ban)
        self._say(VerdictKind.BAN, item, policy, reason)

    def _let_through(self, item: Offender, scope: Scope) -> str:
        """Return how many recently served clients inside a banned prefix keep a way through; empty if none do."""
        if scope is not Scope.NEW or item.target.prefixlen == item.target.max_prefixlen:
            return ""
        count = len(self._state.proven.inside(item.target, EXCEPTIONS))
        served = "recently served client in it keeps" if count == 1 else "recently served clients in it keep"
        return f"; {count} {served} a way through" if count else ""

    def _may_be_framed(self, item: Offender) -> str:
        """Return why a ban must stay as short as a first one and not count against its target; empty if nothing does.

        While a flood is forged from everywhere, any one address may be forged too. Only headers of its own show that a
        loud source is a machine of its own; bearing the flood's header never spares it, so there is nothing to win.
        """
        if not self._spoofed or not item.forgeable or (item.alike is not None and item.alike < OWN_HEADERS):
            return ""
        shown = "" if item.alike is None else f": {item.alike:.0%} of its SYNs bear the flood's header"
        return f"; kept short, it may be forged like the flood around it{shown}"

    def _say(self, kind: VerdictKind, item: Offender, policy: Policy, reason: str) -> None:
        self.verdicts.append(Verdict(kind, item.target, item.score, policy.name, reason, item.evidence))


def _excess(item: Offender) -> float:
    return max(evidence.value / evidence.limit for evidence in item.evidence)


def _is_prefix(item: Offender, policy: Policy) -> bool:
    return item.target.prefixlen < policy.prefixes.lengths(item.target.version)[0]


def _clients(count: int) -> str:
    return "1 recently served client" if count == 1 else f"{count} recently served clients"


def _reason(item: Offender, ports: tuple[int, ...]) -> str:
    where = f" on port {format_ports(ports)}" if ports else ""
    return " and ".join(str(evidence) for evidence in item.evidence) + where


def _until(ban: Ban) -> str:
    return "released by hand" if ban.expires_at is None else f"{ban.expires_at:%H:%M:%S} UTC"
