"""The decisions that a CrowdSec local API holds, as far as its stream has said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from synguard.fleet.decisions import CrowdSecDecision, StreamAnswer

MOST_REASONS: Final = 16
"""Reasons told apart: a local API can make up any number of types and scopes."""
OTHERS: Final = "other reasons"


@dataclass(slots=True)
class KnownDecisions:
    """Decisions by target, the longest of each; the same answer twice changes nothing."""

    kinds: frozenset[str]
    """Types that are followed; others are counted and left out."""
    at_most: int
    """How many are kept; of more, those that last longest."""
    ignored: dict[str, int] = field(default_factory=dict)
    """Type or reason → how many decisions of the last complete look and since were left out."""
    left_out: int = 0
    """Decisions beyond ``at_most``."""
    _by_target: dict[str, CrowdSecDecision] = field(default_factory=dict)

    def take(self, answer: StreamAnswer, *, complete: bool) -> None:
        """Take in one answer; a ``complete`` one replaces all that was known.

        Deletions come first: CrowdSec repeats them, and lists a target as deleted that has a newer decision.
        """
        if complete:
            self._by_target, self.ignored = {}, {}
        for target, kind in answer.deleted:
            known = self._by_target.get(target)
            if known is not None and known.kind == kind:
                del self._by_target[target]
        self._count(answer.unusable.items())
        for decision in answer.new:
            if decision.kind not in self.kinds:
                self._count([(f"type {decision.kind}", 1)])
                continue
            known = self._by_target.get(decision.target)
            if known is None or known.ends_at < decision.ends_at:
                self._by_target[decision.target] = decision
        self._bound()

    def current(self, now_s: float) -> Mapping[str, CrowdSecDecision]:
        """Return target → decision of those that have not ended, forgetting the others."""
        if any(decision.ends_at <= now_s for decision in self._by_target.values()):
            self._by_target = {target: one for target, one in self._by_target.items() if one.ends_at > now_s}
        return self._by_target

    def _count(self, reasons: Iterable[tuple[str, int]]) -> None:
        for reason, count in reasons:
            known = reason if reason in self.ignored or len(self.ignored) < MOST_REASONS else OTHERS
            self.ignored[known] = self.ignored.get(known, 0) + count

    def _bound(self) -> None:
        self.left_out = max(len(self._by_target) - self.at_most, 0)
        if self.left_out:
            longest = sorted(self._by_target.values(), key=lambda one: one.ends_at, reverse=True)[: self.at_most]
            self._by_target = {one.target: one for one in longest}
