"""One attack from onset to calm: a table of moves and the figures kept of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from synguard.detector.assessment import Assessment
from synguard.incidents import MOVES, Incident, Phase
from synguard.model import Verdict, VerdictKind
from synguard.policy.models import IncidentLevels

GRAVITY: Final = ("closed-port", "resets", "syn-flood", "connection-flood", "spoofed-flood")
"""Kinds of incident; a later one replaces an earlier one, never the other way."""

GOES_ON_PPS: Final = 100.0
"""SYNs a second from banned sources that keep an incident open although no one suffers any more."""

SETTLED_S: Final = 2.0
"""An attack that is quiet for less is still one: phases must not change with every tick."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What one tick adds to the incident's story."""

    kind: str | None
    """None where no target is over its limit and no flood is seen."""
    sources: int = 0
    bans: int = 0
    spared: int = 0
    note: str = ""
    pps: float = 0.0
    """Packets a second of a flood that fills no SYN queue."""


def tally(verdicts: Sequence[Verdict], bans: int, sources: int, spoofed: str) -> Tally:
    """Return what the verdicts of a tick add to the incident; ``spoofed`` says why the flood is forged, or is empty."""
    kind = None
    if spoofed:
        kind = "spoofed-flood"
    elif any(not item.signal.forgeable for verdict in verdicts for item in verdict.evidence):
        kind = "connection-flood"
    elif verdicts:
        kind = "syn-flood"
    return Tally(kind, sources, bans, sum(verdict.kind is VerdictKind.SPARE for verdict in verdicts), spoofed)


class IncidentTracker:
    """Keeps the phase and the incident under way."""

    def __init__(self, levels: IncidentLevels, new_id: Callable[[], str]) -> None:
        self.levels = levels
        self._new_id = new_id
        self._quiet_since: float | None = None
        self.phase = Phase.CALM
        self.current: Incident | None = None

    def follow(self, assessment: Assessment, tally: Tally, now: datetime) -> Incident | None:
        """Take in one tick; return the incident as it stands, closed if it has just ended, or None while calm."""
        self._move(assessment, tally)
        if self.phase is Phase.CALM:
            ended, self.current = self.current, None
            return None if ended is None else replace(ended, phase=Phase.CALM, ended_at=now)
        started = self.current or Incident(self._new_id(), self.phase, tally.kind or "syn-flood", started_at=now)
        self.current = _grown(replace(started, phase=self.phase), assessment, tally)
        return self.current

    def _move(self, assessment: Assessment, tally: Tally) -> None:
        attacked = (
            tally.kind is not None
            or assessment.flood.held_pps >= GOES_ON_PPS
            or assessment.fullest >= self.levels.attack_above
            or assessment.flood.overflowing
        )
        quiet = not attacked and assessment.fullest < self.levels.calm_below
        if not quiet:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = assessment.at
        if attacked and self.phase is not Phase.ATTACK:
            self._go(Phase.ATTACK)
        quiet_s = 0.0 if self._quiet_since is None else assessment.at - self._quiet_since
        if self.phase is Phase.ATTACK and quiet_s >= min(SETTLED_S, self.levels.calm_for):
            self._go(Phase.COOLING)
        elif self.phase is Phase.COOLING and quiet_s >= self.levels.calm_for:
            self._go(Phase.CALM)

    def _go(self, phase: Phase) -> None:
        if phase not in MOVES[self.phase]:
            raise ValueError(f"an incident cannot go from {self.phase} to {phase}")
        self.phase = phase


def _grown(incident: Incident, assessment: Assessment, tally: Tally) -> Incident:
    flood = assessment.flood
    kinds = [incident.kind, tally.kind or incident.kind]
    past_peak = 0 < tally.pps < incident.peak_syn_pps  # the note names the rate
    return replace(
        incident,
        kind=max(kinds, key=GRAVITY.index),
        peak_half_open=max(incident.peak_half_open, flood.half_open),
        peak_syn_pps=max(incident.peak_syn_pps, flood.syn_pps, flood.cookies_sent_pps + flood.dropped_pps, tally.pps),
        peak_connections=max(incident.peak_connections, flood.connections),
        sources=max(incident.sources, tally.sources),
        bans=incident.bans + tally.bans,
        spared=max(incident.spared, tally.spared),
        note=incident.note if incident.note and (past_peak or not tally.note) else tally.note,
    )
