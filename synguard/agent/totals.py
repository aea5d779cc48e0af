"""What has been counted since the agent started, whichever plane held the bans meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from synguard.agent.enforcement import Enforcement
from synguard.decision.engine import Decision
from synguard.model import Action, Ban, Hits, Origin, Scope, VerdictKind
from synguard.status.model import ActiveBansStatus, TotalsStatus


class Totals:
    """Adds up what ticks come to; counters only grow."""

    def __init__(self) -> None:
        self._counted: Counter[str] = Counter()
        self._incident = ""
        self._enforcement: Enforcement | None = None
        self._repairs_seen = 0
        self._hits: Mapping[str, Hits] = {}

    def ticked(self, decision: Decision) -> None:
        """Take in one tick."""
        self._counted["bans"] += len(decision.bans)
        if decision.incident is not None and decision.incident.id != self._incident:
            self._incident = decision.incident.id
            self._counted["incidents"] += 1

    def status(self, verdicts: Mapping[VerdictKind, int], enforcement: Enforcement) -> TotalsStatus:
        """Return the counts; ``enforcement`` may be another one than before, as after a change of mode."""
        if enforcement is not self._enforcement:
            self._enforcement, self._repairs_seen, self._hits = enforcement, 0, {}
        self._counted["repairs"] += enforcement.repairs - self._repairs_seen
        self._repairs_seen = enforcement.repairs
        if enforcement.writer.hits is not self._hits:
            self._add_hits(enforcement.writer.hits, enforcement.bans)
        told = {kind: verdicts.get(kind, 0) for kind in VerdictKind}
        return TotalsStatus.model_validate({"verdicts": told, **self._counted})

    def _add_hits(self, hits: Mapping[str, Hits], bans: Mapping[str, Ban]) -> None:
        """Add what is more than at the last look; a counter that fell began anew."""
        nothing = Hits(0, 0)
        for ban_id, now in hits.items():
            if not (now.packets or now.passed):  # most of very many bans stop no one
                continue
            before = self._hits.get(ban_id, nothing)
            if now.packets < before.packets:
                before = nothing
            packets, answered = now.packets - before.packets, max(now.answered - before.answered, 0)
            self._counted["packets"] += packets
            self._counted["bytes"] += max(now.bytes - before.bytes, 0)
            self._counted["answered"] += answered
            self._counted["passed"] += max(now.passed - before.passed, 0)
            # asked of few, of which each becomes an object: the first SYN of a limited target is answered
            if now.answered and ban_id in bans and bans[ban_id].action is Action.LIMIT:
                self._counted["limited"] += packets - answered
        self._hits = hits


def active_bans_by(counted: Mapping[tuple[Origin, Scope], int]) -> tuple[ActiveBansStatus, ...]:
    """Return how many bans stand, by who asked for them and what they stop; those there are none of are left out."""
    return tuple(
        ActiveBansStatus(origin=origin, scope=scope, bans=count)
        for (origin, scope), count in sorted(counted.items())
        if count
    )
