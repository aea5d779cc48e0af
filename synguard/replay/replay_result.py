"""What a whole replay came to: bans, who was spared, incidents, who came close."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from synguard.addresses import Network, NetworkIndex
from synguard.decision.scores import ACT, Score, ScoreKey, Scores
from synguard.incidents import Incident
from synguard.model import Ban, Evidence, FloodKind, Verdict, VerdictKind
from synguard.replay.player import ReplayStep

REMEMBERED: Final = 16_384
"""Entries of each list that are kept, so that a replay's memory is bounded; bans are counted beyond it."""
WATCHED: Final = 20
"""Highest scores looked at after each tick."""


@dataclass(frozen=True, slots=True)
class Spared:
    """One target that was over its limits and left alone."""

    target: Network
    policy: str
    reason: str
    """As of the highest score."""
    score: float
    evidence: tuple[Evidence, ...]
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Flood:
    """One verdict on a flood as a whole, ``spoofed`` or ``slow application``."""

    kind: FloodKind
    text: str
    """The sentence as first said."""
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Close:
    """A score that stayed below the point of action."""

    target: Network
    policy: str
    score: float
    evidence: Evidence
    at: datetime


@dataclass(slots=True)
class ReplayResult:  # wide: one record of a whole replay
    """Grows with each step; times are those of the recording."""

    started_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: float = 0.0
    ticks: int = 0
    lost_rows: int = 0
    bans: list[Ban] = field(default_factory=list)
    banned: int = 0
    """All bans, also those beyond ``REMEMBERED``."""
    floods: list[Flood] = field(default_factory=list)
    refusals: dict[str, int] = field(default_factory=dict)
    """Why offenders were not banned → in how many ticks."""
    incidents: dict[str, Incident] = field(default_factory=dict)
    blind_ticks: int = 0
    """Ticks at which the policies would have sampled SYNs and the recording has none."""
    failures: dict[str, int] = field(default_factory=dict)
    """Sensor → ticks in which it failed as it was recorded."""
    _spared: dict[Network, Spared] = field(default_factory=dict)
    _close: dict[ScoreKey, Close] = field(default_factory=dict)
    _first_at: float = 0.0
    _wanting: int = 0
    """Ticks in a row after which the sampler was wanted."""

    def add(self, step: ReplayStep, scores: Scores) -> None:
        """Take in one more tick."""
        moment, decision = step.moment, step.decision
        if self.started_at is None:
            self.started_at, self._first_at = moment.utc, moment.readings.at
        self.ended_at = moment.utc
        self.seconds = moment.readings.at - self._first_at
        self.ticks += 1
        self.lost_rows += moment.lost
        self.blind_ticks += self._wanting >= _OPENING_TICKS and moment.readings.syns is None
        self._wanting = self._wanting + 1 if decision.wants_sampler else 0
        for sensor in moment.readings.failures:
            self.failures[sensor] = self.failures.get(sensor, 0) + 1
        self.banned += len(decision.bans)
        self.bans.extend(decision.bans[: REMEMBERED - len(self.bans)])
        for verdict in decision.verdicts:
            self._evaluate(verdict, moment.utc)
        for refusal in decision.refusals[:1]:
            if refusal in self.refusals or len(self.refusals) < REMEMBERED:
                self.refusals[refusal] = self.refusals.get(refusal, 0) + 1
        self._follow_flood(decision.flood_kind, decision.flood_verdict, moment.utc)
        if decision.incident is not None:
            self.incidents[decision.incident.id] = decision.incident
        for key, score in scores.highest(WATCHED):
            self._note_close(key, score, moment.utc)

    @property
    def spared(self) -> list[Spared]:
        """Who was spared, highest score first."""
        return sorted(self._spared.values(), key=lambda one: (-one.score, str(one.target)))

    @property
    def close(self) -> list[Close]:
        """Who came close without being acted on, highest score first.

        No one who was banned or spared, or lives in a prefix that was, or holds one.
        """
        done = NetworkIndex([*(ban.target for ban in self.bans), *self._spared])
        kept = (one for one in self._close.values() if one.score < ACT and done.overlapping(one.target) is None)
        return sorted(kept, key=lambda one: (-one.score, str(one.target)))

    def finished_incidents(self) -> list[Incident]:
        """Return the incidents in order; one that the recording does not see end has ``ended_at`` None."""
        return sorted(self.incidents.values(), key=lambda one: one.started_at)

    def _evaluate(self, verdict: Verdict, utc: datetime) -> None:
        target = verdict.target
        if verdict.kind is not VerdictKind.SPARE or target is None:
            return
        known = self._spared.get(target)
        if known is None and len(self._spared) < REMEMBERED:
            self._spared[target] = Spared(
                target, verdict.policy, verdict.reason, verdict.score, verdict.evidence, utc, utc
            )
        elif known is not None and verdict.score > known.score:
            self._spared[target] = replace(
                known, reason=verdict.reason, score=verdict.score, evidence=verdict.evidence, last_at=utc
            )
        elif known is not None:
            self._spared[target] = replace(known, last_at=utc)

    def _follow_flood(self, kind: FloodKind, text: str, utc: datetime) -> None:
        if not kind:
            return
        last = self.floods[-1] if self.floods else None
        if last is not None and last.kind == kind and (utc - last.last_at).total_seconds() < _SAME_FLOOD_S:
            self.floods[-1] = replace(last, last_at=utc)
        elif len(self.floods) < REMEMBERED:
            self.floods.append(Flood(kind, text, utc, utc))

    def _note_close(self, key: ScoreKey, score: Score, utc: datetime) -> None:
        known = self._close.get(key)
        if known is not None and known.score >= score.points:
            return
        if known is None and len(self._close) >= REMEMBERED:
            lowest = min(self._close, key=lambda one: self._close[one].score)
            if self._close[lowest].score >= score.points:
                return
            del self._close[lowest]
        self._close[key] = Close(key.target, key.policy, score.points, score.evidence, utc)


_OPENING_TICKS: Final = 2
"""The agent opens the sampler in one tick and reads it in the next."""

_SAME_FLOOD_S: Final = 10.0
"""A verdict that comes again within this long is the same flood's."""
