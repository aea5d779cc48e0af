"""What speaks against a step: protection, served clients, containers, and evidence that may be forged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from synguard.addresses import Network, covers, first_found, format_network, forms, numbers_of
from synguard.decision.evaluator_state import EvaluatorState
from synguard.decision.inside import Inside
from synguard.decision.ladder import Step
from synguard.decision.pieces import Range
from synguard.decision.prefix_aggregation import Offender
from synguard.decision.spoofing import MEANINGFUL_SHARE
from synguard.detector.assessment import Assessment
from synguard.model import Action, Cause, Scope, Signal
from synguard.policy.models import Policy
from synguard.units import format_duration

EXCEPTIONS: Final = 4096
"""Proven peers that keep a way through one banned prefix; a prefix with more of them is not banned."""


HARMLESS_PPS: Final = 200.0
"""SYNs a second that a listener carries, with cookies or in its queue, without any help."""


OWN_HEADERS: Final = 0.5
"""A source fewer of whose SYNs bear the header of a forged flood is not the tool that sends it."""


class Objection(NamedTuple):
    """Why a step is not taken: the cause that programs read, and a clause for people."""

    text: str
    cause: Cause = Cause.NONE
    lead: str = ""
    """Words before the clause in a verdict on the target itself; what is said of its parts does without."""


@dataclass(frozen=True, slots=True)
class Excess:
    """Connections of a target beyond its limit, which are closed where the target must not be cut off."""

    target: Network
    ports: tuple[int, ...]
    """Local ports; empty for all."""
    at_most: int
    of_containers: bool = True
    """Whether only containers of this host are meant; else all in the target who are not protected."""


class Objections:
    """Gives the reason against a step; none where nothing speaks against it."""

    def __init__(self, evaluator_state: EvaluatorState, assessment: Assessment, spoofed: str | None) -> None:
        self._state = evaluator_state
        self._assessment = assessment
        self._spoofed = spoofed
        self._steady: Mapping[Signal, float] | None = None
        self.offenders: Sequence[tuple[Offender, Policy]] = ()
        """All of the tick, each with its policy."""

    def why_spared(self, item: Offender, policy: Policy, inside_it: Inside, step: Step) -> Objection | None:
        """Return why this step would hit who is protected or served, None if it does not."""
        index, parties = self._state.protected_index, self._state.protected.networks
        targets = forms(item.target, policy.prefixes.embedding)
        covering = first_found(index.covering, targets)
        if covering is not None:
            return Objection(f"protected: {parties[covering]}", Cause.PROTECTED)
        if step.action is Action.CHALLENGE:  # refuses no one, and those protected inside pass unchallenged
            return None
        inside = first_found(index.inside, targets)
        if inside is not None:
            return Objection(f"it holds {format_network(inside)}, protected: {parties[inside]}", Cause.PROTECTED)
        translated = next((one for one in policy.prefixes.embedding if covers(item.target, one)), None)
        if translated is not None:
            return Objection(f"it holds {translated}, where all of IPv4 is embedded", Cause.PROTECTED)
        return self._why_doubted(item, policy, inside_it) if item.forgeable else None

    def must_get_through(self, item: Offender, policy: Policy) -> list[Range] | None:
        """Return where in a target who is protected lives, and containers of this host; None where all of it is."""
        index, containers, target = self._state.protected_index, self._state.containers_index, item.target
        embedding = policy.prefixes.embedding
        found = [_place_in(target, one) for one in embedding if covers(target, one)]
        for form in forms(target, embedding):
            if index.covering(form) is not None or containers.covering(form) is not None:
                return None
            found += [_place_in(form, one) for one in (*index.all_inside(form), *containers.all_inside(form))]
        return found

    def why_not_cut_off(self, item: Offender, scope: Scope) -> Objection | None:
        """Return which container of this host a ban of everything would cut off, None if it hits none."""
        found = self._state.containers_index.overlapping(item.target) if scope is Scope.ALL else None
        if found is None:
            return None
        why = self._state.containers[found]
        what = f"{format_network(found)} is a container of this host ({why})"
        return Objection(f"{what}, never cut off: the load comes from there", Cause.CONTAINER)

    def excess(self, item: Offender, policy: Policy) -> Iterator[Excess]:
        """Yield what a container of this host holds too much of: its own connections, by handshakes on its own link."""
        if is_prefix(item, policy) or self._state.containers_index.overlapping(item.target) is None:
            return
        for evidence in item.evidence:
            if evidence.signal is Signal.CONNECTIONS:
                yield Excess(item.target, evidence.ports, int(evidence.limit))

    def why_apart(self, item: Offender, policy: Policy, inside: Inside) -> str:
        """Return why a prefix is not stopped as a whole although it is over a limit, or nothing if it is."""
        if item.target.prefixlen == item.target.max_prefixlen:
            return ""
        if not inside.fills(whole=self.carried(item)):  # then nothing presses for a ban wider than what floods
            return "too little of it takes part"
        if not item.forgeable:
            light = inside.light(self._state.proven)
            has = "has" if light == 1 else "have"
            return f"{_clients(light)} in it {has} only a few connections" if light else ""
        served = self._state.proven.count(item.target)
        if self.carried(item) and served and is_prefix(item, policy):
            return f"SYN cookies carry the flood, and {_clients(served)} {'lives' if served == 1 else 'live'} in it"
        return ""

    def carried(self, item: Offender) -> bool:
        """Return whether SYN cookies serve clients through what this target does."""
        flood = self._assessment.flood
        carried = flood.cookies_sent_pps > 0 and not flood.dropped_pps and not self._assessment.bottleneck
        return item.forgeable and carried

    def _why_doubted(self, item: Offender, policy: Policy, inside_it: Inside) -> Objection | None:
        """Return why forgeable evidence does not suffice to refuse this target, None if it does."""
        target, evaluator_state = item.target, self._state
        proven = evaluator_state.proven.inside(target, EXCEPTIONS + 1)
        if proven and self._proven_alone(item, inside_it, len(proven)):
            seen_at = evaluator_state.proven.seen_at(proven[0]) or self._assessment.at
            ago = format_duration(max(self._assessment.at - seen_at, 0.0))
            why = f"proven: completed a handshake {ago} ago, and half-open sockets and SYNs can be forged"
            return Objection(why, Cause.PROVEN)
        if len(proven) > EXCEPTIONS:
            return Objection(f"more than {EXCEPTIONS} recently served clients live in it", Cause.CROWD)
        if self._spoofed and is_prefix(item, policy) and self._share(item) < MEANINGFUL_SHARE:
            why = f"with its like it carries only {self._share(item):.1%} of a flood whose sources are forged"
            return Objection(why, Cause.FORGED_SHARE)
        if self._harmless():
            why = (
                f"fewer than {HARMLESS_PPS:.0f} SYNs a second come, none is turned away, and its address may be forged"
            )
            return Objection(why, Cause.HARMLESS)
        return None

    def why_short(self, item: Offender) -> str:
        """Return why a ban must stay as short as a first one and not count against its target; empty if nothing does.

        While a flood is forged from everywhere, any one address may be forged too. Only headers of its own show that a
        loud source is a machine of its own; bearing the flood's header never spares it, so there is nothing to win.
        """
        if not self._spoofed or not item.forgeable or (item.alike is not None and item.alike < OWN_HEADERS):
            return ""
        shown = "" if item.alike is None else f": {item.alike:.0%} of its SYNs bear the flood's header"
        return f"kept short, it may be forged like the flood around it{shown}"

    def _harmless(self) -> bool:
        """Return whether the whole flood is so small that it harms no one; refusing an address would harm its owner."""
        flood = self._assessment.flood
        largest = max(flood.syn_pps, flood.cookies_sent_pps, flood.overflow_pps)
        return flood.counted and largest < HARMLESS_PPS and not flood.dropped_pps and not self._assessment.bottleneck

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
        kept = 1 - spread.scattered if spread is not None else 1.0
        syn_pps = spread.pps if spread is not None and spread.pps else flood.syn_pps
        of = {Signal.SYN_RATE: syn_pps * kept, Signal.HALF_OPEN: float(flood.half_open)}
        if self._steady is None:
            self._steady = _carried(self.offenders)
        steady = self._steady
        shares = (steady.get(one.signal, one.value) / of[one.signal] for one in item.evidence if of[one.signal])
        return min(max(shares, default=1.0), 1.0)


def _carried(offenders: Sequence[tuple[Offender, Policy]]) -> Mapping[Signal, float]:
    """Return what the prefixes over a limit carry together, by signal."""
    carried: dict[Signal, float] = {}
    for item, policy in offenders:
        for evidence in item.evidence if is_prefix(item, policy) else ():
            carried[evidence.signal] = carried.get(evidence.signal, 0.0) + evidence.value
    return carried


def _place_in(outer: Network, inner: Network) -> Range:
    _, start, length = numbers_of(inner)
    first = start - numbers_of(outer)[1]
    return first, first + (1 << inner.max_prefixlen - length) - 1


def is_prefix(item: Offender, policy: Policy) -> bool:
    """Return whether the target is wider than what the policy counts by."""
    return not item.everybody and policy.prefixes.is_prefix(item.target)


def _clients(count: int) -> str:
    return "1 recently served client" if count == 1 else f"{count} recently served clients"
