"""The step between limit and drop: SYNs of a target with one exact header that no served client sends are dropped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from synguard.addresses import Network
from synguard.decision.evaluator_state import EvaluatorState
from synguard.decision.ladder import ESCALATE_AFTER, Step, is_turn_of_header
from synguard.decision.syn_headers import HEED_EVERY_S, HeaderKey, Sightings, key_of
from synguard.detector.assessment import Assessment
from synguard.model import Action, Ban
from synguard.syn_header import SynHeader

SHARE: Final = 0.5
"""Share of a target's SYNs, but for those whose header is dropped already, that bear a header worth dropping."""
STILL_SENT: Final = 0.05
"""Share of a target's SYNs from which a dropped header is still sent, and its ban renewed."""
LEAST_SYNS: Final = 200
"""SYNs of a target in the last second; fewer make no CPU a bottleneck."""
MOST_OF_TARGET: Final = 4
"""Headers of one target that are dropped at once: a tool has one or a few, or draws them at random."""
MOST: Final = 16
"""Headers that are dropped at once in all, and targets whose headers are looked at in one tick."""


class HeaderDrops:
    """One tick's answers: which headers to drop, and which of those that are dropped a served client sends."""

    def __init__(self, state: EvaluatorState, assessment: Assessment, now: datetime) -> None:
        self._state, self._assessment, self._now = state, assessment, now
        self._asked = 0
        self._together: tuple[Sightings | None, ...] = ()
        self.why_not = ""
        """Why the last target asked about has no further header to drop though it is their turn, one clause."""

    @property
    def _sightings(self) -> Sightings | None:
        """The SYNs of the last second, put together once and only where someone asks."""
        if not self._together:
            self._together = (Sightings.of(self._assessment.recent_syns),)
        return self._together[0]

    def sent_by_clients(self) -> list[Ban]:
        """Return the bans of headers that a served client sends after all."""
        dropped = self._state.active_bans.header_bans
        served, now = self._state.served_headers, self._assessment.at
        if dropped and now - served.heeded_at >= HEED_EVERY_S and self._sightings is not None:
            served.heed(self._sightings, [_key(ban) for ban in dropped], self._state.proven, now)
        return [ban for ban in dropped if _key(ban) in served]

    def steps(
        self, target: Network, ports: tuple[int, ...], actions: Sequence[Action], active_ban: Ban | None
    ) -> tuple[list[Step], bool]:
        """Return the drops to make of a target's SYNs now, and whether they need time yet to bring relief.

        Drops are made anew shortly before their end, while their header is still sent; and another one where it is its
        turn. ``actions`` are the policy's other steps; none where it drops no headers.
        """
        self.why_not = ""
        dropped = [
            ban
            for ban in self._state.active_bans.header_bans
            if (ban.target, ban.ports) == (target, ports) and ban.active(self._now)
        ]
        turn = is_turn_of_header(actions, active_ban, self._now, self._assessment.bottleneck)
        waits = any(self._now - ban.created_at < ESCALATE_AFTER for ban in dropped)
        ending = [ban for ban in dropped if actions and not self._state.stands_long(ban, self._now)]
        if not ending and (waits or not turn):
            return [], waits
        if self._sightings is None:
            self.why_not = "in dry-run no program counts headers" if self._state.dry_run else "headers are not counted"
            return [], waits
        self._asked += 1
        if self._asked > MOST:
            return [], waits
        sightings = self._sightings.of_target(target, ports)
        taken = [step for ban in ending for step in _again(ban, sightings)]
        if turn and not waits:
            taken += self._another(sightings, dropped)
        return taken, waits or bool(taken)

    def _another(self, sightings: Sightings, dropped: Sequence[Ban]) -> Iterator[Step]:
        """Yield the drop of the header that most of the other SYNs bear, where no served client sends it."""
        if len(dropped) >= MOST_OF_TARGET or len(self._state.active_bans.header_bans) >= MOST:
            self.why_not = "as many are dropped as can be"
            return
        for ban in dropped:
            sightings = sightings.where(~sightings.bear(_key(ban)))
        key, syns = sightings.commonest(), int(sightings.syns.sum())
        if key is None or syns < LEAST_SYNS:
            self.why_not = "few SYNs of it bear another"
            return
        alike = sightings.where(sightings.bear(key))
        share = int(alike.syns.sum()) / syns
        self.why_not = self._why_kept(key, alike, share)
        if self.why_not:
            return
        ttl = int(alike.ttl.min()), int(alike.ttl.max())
        header = SynHeader(ttl, key.window, key.mss, key.options, key.length)
        text = f"{share:.0%} of its SYNs bear one header that no served client sent lately, and these are dropped"
        yield Step(Action.DROP, f"{text}: {self._assessment.bottleneck}", header)

    def _why_kept(self, key: HeaderKey, alike: Sightings, share: float) -> str:
        """Return why this header is not dropped, one clause, or nothing."""
        if share < SHARE:
            return f"the commonest is on {share:.0%} of its SYNs"
        served = self._state.served_headers
        if why := served.why_unknown():
            return why
        senders = int(self._state.proven.among(alike.high, alike.low).sum())
        return f"served clients send that of {share:.0%} of its SYNs" if key in served or senders > 1 else ""


def _again(ban: Ban, sightings: Sightings) -> Iterator[Step]:
    """Yield the drop of a header that is still sent."""
    if sightings.syns[sightings.bear(_key(ban))].sum() >= STILL_SENT * sightings.syns.sum() > 0:
        yield Step(Action.DROP, "its SYNs still bear the header that is dropped", ban.header)


def _key(ban: Ban) -> HeaderKey:
    if ban.header is None:
        raise ValueError(f"ban {ban.id} is of no single header")
    return key_of(ban.header, ban.target.version)
