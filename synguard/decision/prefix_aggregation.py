"""The narrowest networks that cover the offenders, when enough of a wider one offends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from synguard.addresses import EMBEDDED, Network, NetworkIndex, compact_network, start_of
from synguard.detector.counting import MOST_PORTS
from synguard.model import Evidence, Signal
from synguard.policy.models import Policy


@dataclass(frozen=True, slots=True)
class Offender:
    """A target that calls for action, by one kind of evidence: forgeable or handshake-proven."""

    target: Network
    score: float
    evidence: tuple[Evidence, ...]
    addresses: int = 1
    """Distinct single addresses seen in the target."""
    alike: float | None = None
    """Share of its SYNs that bear the header of most of the flood's networks; None where that is not known."""
    joined: bool = False
    """Whether enough of its parts offend, each by itself, for it to stand for them."""
    parts: tuple[Offender, ...] = ()
    """Narrower targets in it that call for action themselves, widest first."""
    offending: int = 0
    """Targets inside it that have a score, whether they call for action yet or not; known where it has parts."""
    everybody: str = ""
    """Why all sources of a port are meant, one clause; empty for every other target."""

    @property
    def forgeable(self) -> bool:
        """Whether a sender who lies about its address could have brought this about."""
        return all(item.signal.forgeable for item in self.evidence)

    @property
    def ports(self) -> tuple[int, ...]:
        """The attacked local ports, ascending; empty for all of them."""
        if any(not item.ports for item in self.evidence):
            return ()
        ports = sorted({port for item in self.evidence for port in item.ports})
        return tuple(ports) if len(ports) <= MOST_PORTS else ()


def aggregated_prefixes(offenders: Iterable[Offender], policy: Policy) -> list[Offender]:
    """Return targets that cover all the offenders: siblings become their parent where enough of it offends.

    Enough is ``min_sources`` sources for the first prefix, and for a wider one ``min_share`` of the narrower ones
    in it; the parent's own limit must be broken too. All of the offenders rest on one kind of evidence.
    """
    by_target = {item.target: item for item in offenders}
    for family in (4, 6, EMBEDDED):
        lengths = policy.prefixes.lengths(family)
        for level, (narrow, wide) in enumerate(pairwise(lengths)):
            needed = policy.prefixes.min_sources if level == 0 else policy.prefixes.narrower_for(narrow, wide)
            version = 4 if family == 4 else 6
            beyond = (32 if version == 4 else 128) - wide
            families: dict[int, list[Offender]] = {}
            for item in by_target.values():
                target = item.target
                right_width = target.prefixlen == narrow and target.version == version
                if right_width and policy.prefixes.family_of(target) == family:
                    families.setdefault(start_of(target) >> beyond, []).append(item)
            for start, children in families.items():
                if len(children) >= needed:
                    parent = compact_network(version, start << beyond, wide)
                    own = by_target.get(parent)
                    joined = _joined(parent, [*children, own] if own else children, policy)
                    if any(item.value > item.limit for item in joined.evidence):
                        by_target[parent] = joined
    return _with_parts(list(by_target.values()))


def _joined(parent: Network, children: list[Offender], policy: Policy) -> Offender:
    by_signal: dict[Signal, list[tuple[Network, Evidence]]] = {}
    for child in children:
        for item in child.evidence:
            by_signal.setdefault(item.signal, []).append((child.target, item))
    return Offender(
        target=parent,
        score=max(child.score for child in children),
        evidence=tuple(_added(parent, items, policy) for items in by_signal.values()),
        addresses=sum(child.addresses for child in children),
        alike=max((child.alike for child in children if child.alike is not None), default=None),
        joined=True,
    )


def _added(parent: Network, items: list[tuple[Network, Evidence]], policy: Policy) -> Evidence:
    """Return the sum of the children's evidence against the parent's limit, lowered as theirs is while pressed."""
    target, first = items[0]
    evidence = [item for _, item in items]
    usual = policy.limit_for(first.signal, target) or first.limit
    limit = policy.limit_for(first.signal, parent)
    ports = sorted({port for item in evidence for port in item.ports})
    unknown = len(ports) > MOST_PORTS or any(not item.ports for item in evidence)
    return Evidence(
        signal=first.signal,
        value=sum(item.value for item in evidence),
        limit=float("inf") if limit is None else limit * first.limit / usual,
        ports=() if unknown else tuple(ports),
        sources=sum(item.sources for item in evidence),
        error=sum(item.error**2 for item in evidence) ** 0.5,
    )


def _with_parts(items: list[Offender]) -> list[Offender]:
    """Return the items that no other one covers, each with those that it covers."""
    if len({(item.target.version, item.target.prefixlen) for item in items}) < 2:
        return items  # none of which can cover another
    everything = NetworkIndex(item.target for item in items)
    parts: dict[Network, list[Offender]] = {}
    for item in sorted(items, key=lambda one: one.target.prefixlen):
        covering = everything.covering(item.target)
        if covering is not None and covering != item.target:
            parts.setdefault(covering, []).append(item)
    return [
        replace(item, parts=tuple(parts.get(item.target, ())))
        for item in items
        if everything.covering(item.target) == item.target
    ]
