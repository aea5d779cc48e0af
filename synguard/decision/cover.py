"""The narrowest networks that cover the condemned, when enough of a wider one offends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from synguard.addresses import Network, NetworkIndex
from synguard.detector.counting import MOST_PORTS
from synguard.model import Evidence, Signal
from synguard.policy.models import Policy


@dataclass(frozen=True, slots=True)
class Condemned:
    """A target that calls for action, by one kind of evidence: forgeable or handshake-proven."""

    target: Network
    score: float
    evidence: tuple[Evidence, ...]
    addresses: int = 1
    """Distinct single addresses seen in the target."""

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


def narrowest_cover(condemned: Iterable[Condemned], policy: Policy) -> list[Condemned]:
    """Return targets that cover all the condemned: siblings become their parent where enough of it offends.

    Enough is ``min_sources`` sources for the first prefix, and for a wider one ``min_share`` of the narrower ones
    in it; the parent's own limit must be broken too. All of the condemned rest on one kind of evidence.
    """
    by_target = {item.target: item for item in condemned}
    for version in (4, 6):
        lengths = policy.prefixes.lengths(version)
        for level, (narrow, wide) in enumerate(pairwise(lengths)):
            needed = (
                policy.prefixes.min_sources
                if level == 0
                else max(2, round(policy.prefixes.min_share * 2 ** (narrow - wide)))
            )
            families: dict[Network, list[Condemned]] = {}
            for item in by_target.values():
                if item.target.version == version and item.target.prefixlen == narrow:
                    families.setdefault(item.target.supernet(new_prefix=wide), []).append(item)
            for parent, children in families.items():
                if len(children) >= needed and _parent_offends(children, policy, wide, lengths[1]):
                    own = by_target.get(parent)
                    by_target[parent] = _joined(parent, [*children, own] if own else children)
    return _without_covered(list(by_target.values()))


def _parent_offends(children: list[Condemned], policy: Policy, wide: int, base_length: int) -> bool:
    for signal, value in _sums(children).items():
        limit = policy.prefix_limits.of(signal)
        if limit is not None and value > limit * 2 ** ((base_length - wide) / 2):
            return True
    return False


def _sums(children: Iterable[Condemned]) -> dict[Signal, float]:
    sums: dict[Signal, float] = {}
    for child in children:
        for item in child.evidence:
            sums[item.signal] = sums.get(item.signal, 0.0) + item.value
    return sums


def _joined(parent: Network, children: list[Condemned]) -> Condemned:
    by_signal: dict[Signal, list[Evidence]] = {}
    for child in children:
        for item in child.evidence:
            by_signal.setdefault(item.signal, []).append(item)
    return Condemned(
        target=parent,
        score=max(child.score for child in children),
        evidence=tuple(_added(items) for items in by_signal.values()),
        addresses=sum(child.addresses for child in children),
    )


def _added(items: list[Evidence]) -> Evidence:
    ports = sorted({port for item in items for port in item.ports})
    unknown = len(ports) > MOST_PORTS or any(not item.ports for item in items)
    return replace(
        items[0],
        value=sum(item.value for item in items),
        ports=() if unknown else tuple(ports),
        sources=sum(item.sources for item in items),
        error=sum(item.error**2 for item in items) ** 0.5,
    )


def _without_covered(items: list[Condemned]) -> list[Condemned]:
    everything = NetworkIndex(item.target for item in items)
    return [item for item in items if everything.covering(item.target) == item.target]
