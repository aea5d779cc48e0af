"""Who inside an offending prefix is to be stopped, where the prefix is not: its heavy members, not their neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from synguard.addresses import Network, compact_network
from synguard.columns import U64
from synguard.decision.pieces import Offsets, Range, pieces
from synguard.decision.prefix_aggregation import Offender
from synguard.decision.proven import ProvenPeers
from synguard.detector.assessment import Assessment
from synguard.detector.ban_filter import by_key, within
from synguard.detector.columns import cut, halves, masks, network_at, sorting_order
from synguard.detector.fair_share import fair_share
from synguard.detector.members import Members
from synguard.model import Evidence, Signal
from synguard.policy.models import Policy

MOST_HEAVY: Final = 256
"""Members of one prefix that are stopped one by one in one tick, the heaviest; others follow in the next ticks."""
LEAST_SHARE: Final = 1 / 16
"""Share of a source's own limit below which no one counts as heavy, however many neighbours there are."""
LEAST: Final = {Signal.HALF_OPEN: 3.0, Signal.SYN_RATE: 5.0, Signal.CONNECTIONS: 3.0, Signal.CONNECTION_RATE: 3.0}
"""The same in absolute figures: what one honest client may have."""
WHOLE: Final = 0.9
"""Share of the narrower prefixes in one that is said to take part whole."""
LEAST_ROWS: Final = 4
"""SYNs of a source that must have been seen before its rate is told from chance."""


class Inside:
    """What one tick shows of the members of one offending prefix."""

    def __init__(self, item: Offender, policy: Policy, assessment: Assessment) -> None:
        self._item, self._policy, self._assessment = item, policy, assessment
        target = item.target
        self._lengths = policy.prefixes.lengths(policy.prefixes.family_of(target))
        self._source = self._lengths[0] if target.prefixlen < self._lengths[0] else target.max_prefixlen

    @property
    def fresh(self) -> bool:
        """Whether what speaks against the prefix was read for this tick; sockets are not read in every one."""
        return any(evidence.signal in self._assessment.elapsed for evidence in self._item.evidence)

    def fills(self, *, whole: bool) -> bool:
        """Return whether enough of a prefix takes part for it to be stopped as a whole.

        The first prefix (a /24) takes part with ``min_sources`` sources, a wider one if ``min_share`` of the narrower
        ones in it do, or nearly all where it must be ``whole``. One that its parts stand for is full otherwise.
        """
        item, target = self._item, self._item.target
        if (item.joined and not whole) or target.prefixlen >= self._lengths[min(1, len(self._lengths) - 1)]:
            return True
        return any(self._full(members, whole=whole) for _, members in self._members(self._lengths[0]))

    def unproven_share(self, proven: ProvenPeers) -> float | None:
        """Return the share of the evidence that comes from addresses without a handshake; None where it is not known.

        Of several signals the largest share counts.
        """
        shares = []
        for _, members in self._members(self._item.target.max_prefixlen):
            known = proven.among(members.runs.high, members.runs.low)
            if members.value.sum() > 0:
                shares.append(float(members.value[~known].sum() / members.value.sum()))
        return max(shares, default=None)

    def light(self, proven: ProvenPeers) -> int:
        """Return how many recently served clients in the prefix have no more than a fair share of its limit."""
        high, low = proven.columns_inside(self._item.target)
        light = np.ones(len(low), np.bool_)
        for evidence, members in self._members(self._source):
            heavy = members.value > fair_share(members.value, evidence.limit)
            firsts = by_key(members.runs.high[heavy], members.runs.low[heavy])
            light &= ~within(high, low, firsts, self._item.target.version, members.prefixlen)
        return int(light.sum())

    def heavy(self) -> list[Offender]:
        """Return the members that have more than a fair share of the prefix's limit, heaviest first."""
        found: list[Offender] = []
        for evidence, members in self._members(self._source):
            level = max(fair_share(members.value, evidence.limit), self._least(evidence))
            if level == float("inf"):
                continue
            enough = members.rows >= (LEAST_ROWS if evidence.signal is Signal.SYN_RATE else 1)
            rows = np.flatnonzero((members.value > level) & enough)
            rows = rows[np.argsort(-members.value[rows], kind="stable")][:MOST_HEAVY]
            for row, network in zip(rows.tolist(), self._networks(members, rows), strict=True):
                own = Evidence(evidence.signal, float(members.value[row]), level, evidence.ports)
                found.append(Offender(network, self._item.score, (own,)))
        return found

    def rest(self, heavy: Iterable[Network], kept: Iterable[Range], proven: ProvenPeers) -> Iterator[Offender]:
        """Yield the networks in the prefix to stop beside its ``heavy`` members, for it to keep its limit.

        They hold nothing of ``kept``, and no client with a fair share of the limit or less: not one that is connected,
        nor one that was served lately and has no connection now. So the many are found who have one connection each.
        """
        target, start = self._item.target, int(self._item.target.network_address)
        version, bits = target.version, target.max_prefixlen - target.prefixlen
        apart = by_key(*np.array([halves(one) for one in heavy], np.uint64).reshape(-1, 2).T)
        served, kept = proven.columns_inside(target), list(kept)
        for evidence, members in self._members(target.max_prefixlen):
            high, low = members.runs.high, members.runs.low
            over = members.value > fair_share(members.value, evidence.limit)
            idle = ~within(*served, by_key(high[over], low[over]), version, target.max_prefixlen)
            light_high, light_low = np.append(high[~over], served[0][idle]), np.append(low[~over], served[1][idle])
            order = sorting_order(light_high, light_low)
            light = _offsets(light_high[order], light_low[order], target)
            many = over & ~within(high, low, apart, version, self._source)
            of_many = _offsets(high[many], low[many], target)
            for piece in pieces(bits, of_many, members.value[many], light, kept, evidence.limit):
                network = compact_network(version, start + piece.first, target.max_prefixlen - piece.bits)
                own = replace(evidence, value=piece.value, sources=piece.members)
                yield Offender(network, self._item.score, (own,), addresses=piece.members)

    def _members(self, prefixlen: int) -> Iterator[tuple[Evidence, Members]]:
        for evidence in self._item.evidence:
            crowd = self._assessment.crowds.get(evidence.signal)
            if crowd is not None:
                yield evidence, crowd.inside(self._item.target, prefixlen, self._policy.port_ranges)

    def _least(self, evidence: Evidence) -> float:
        """Return what a member must have at least, lowered as the prefix's limit is."""
        target = self._item.target
        own = self._policy.limits.of(evidence.signal) or 0.0
        usual = self._policy.limit_for(evidence.signal, target) or evidence.limit
        return max(own * evidence.limit / usual * LEAST_SHARE, LEAST[evidence.signal])

    def _full(self, members: Members, *, whole: bool) -> bool:
        rules, version, length = self._policy.prefixes, self._item.target.version, members.prefixlen
        high, low = members.runs.high, members.runs.low
        for wider in (each for each in self._lengths[1:] if each >= self._item.target.prefixlen):
            needed = rules.min_sources if length == self._lengths[0] else rules.narrower_for(length, wider)
            if whole and length != self._lengths[0]:
                needed = max(needed, round(WHOLE * 2 ** (length - wider)))
            parents = cut(high, low, version, wider)
            taking_part = parents.end - parents.start >= needed
            high, low, length = parents.high[taking_part], parents.low[taking_part], wider
        return len(high) > 0

    def _networks(self, members: Members, rows: npt.NDArray[np.intp]) -> list[Network]:
        version = self._item.target.version
        return [
            network_at(int(members.runs.high[row]), int(members.runs.low[row]), version, members.prefixlen)
            for row in rows.tolist()
        ]


def _offsets(high: U64, low: U64, network: Network) -> Offsets:
    """Return how far addresses, which are in order, lie behind the first one of their network."""
    high_mask, low_mask = masks(network.version, network.prefixlen)
    return high & ~high_mask, low & ~low_mask
