"""When a recording was calm, by the policies that judge it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from synguard.decision.scores import Scores
from synguard.incidents import Incident
from synguard.model import NEVER
from synguard.replay.player import ReplayStep
from synguard.replay.suggestion import SHORT_S
from synguard.units import format_duration

BEFORE: Final = timedelta(seconds=30)
"""An attack grows before it is called one: so much before its onset is left out too."""
REMEMBERED: Final = 65_536


class QuietPeriods:
    """Incidents, bans and scores of one recording under some policies, with their times."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        """Of the agent that recorded."""
        self.seconds = 0.0
        self.lost_rows = 0
        self._first_at: float | None = None
        self._incidents: dict[str, Incident] = {}
        self._stretches: list[tuple[datetime, datetime]] | None = None
        self._bans: list[datetime] = []
        self._scores: list[tuple[datetime, float]] = []

    @property
    def incidents(self) -> list[Incident]:
        """The incidents in order; ``ended_at`` is None for one that the recording does not see end."""
        return sorted(self._incidents.values(), key=lambda one: one.started_at)

    def add(self, step: ReplayStep, scores: Scores) -> None:
        """Take in one more step."""
        utc, at = step.moment.utc, step.moment.readings.at
        self._first_at = at if self._first_at is None else self._first_at
        self.seconds = at - self._first_at
        self.lost_rows += step.moment.lost
        if step.decision.incident is not None:
            self._incidents[step.decision.incident.id] = step.decision.incident
            self._stretches = None
        self._bans.extend([utc] * min(len(step.decision.bans), REMEMBERED - len(self._bans)))
        for _, score in scores.highest(1):
            self._note(utc, score.points)

    def calm(self, utc: datetime) -> bool:
        """Return whether no incident was under way or about to begin."""
        if self._stretches is None:
            self._stretches = _merged(self.incidents)
        position = bisect_right(self._stretches, (utc, NEVER)) - 1
        return position < 0 or utc > self._stretches[position][1]

    def within(self, other: QuietPeriods | None) -> tuple[int, float]:
        """Return the bans and the highest score of the time that ``other`` calls calm; of all time for None."""
        bans = sum(other is None or other.calm(utc) for utc in self._bans)
        return bans, max((points for utc, points in self._scores if other is None or other.calm(utc)), default=0.0)

    def _note(self, utc: datetime, points: float) -> None:
        """Keep the highest score of each second."""
        second = utc.replace(microsecond=0)
        if self._scores and self._scores[-1][0] == second:
            self._scores[-1] = (second, max(points, self._scores[-1][1]))
        else:
            self._scores.append((second, points))


def _merged(incidents: Iterable[Incident]) -> list[tuple[datetime, datetime]]:
    """Return the stretches that incidents take, in order and without overlap."""
    stretches: list[tuple[datetime, datetime]] = []
    for one in incidents:
        start, end = one.started_at - BEFORE, one.ended_at or NEVER
        if stretches and start <= stretches[-1][1]:
            start, end = stretches[-1][0], max(end, stretches.pop()[1])
        stretches.append((start, end))
    return stretches


def warnings(courses: Sequence[QuietPeriods], calm_s: float) -> Iterator[str]:
    """Yield what makes a suggestion weaker than it looks."""
    if calm_s < SHORT_S:
        yield f"only {format_duration(calm_s)} of calm were recorded: record an hour at least, better a day"
    if any(course.mode == "enforce" for course in courses):
        yield "the recording was made while enforcing: what bans stopped was not measured"
    if lost := sum(course.lost_rows for course in courses):
        yield f"{lost:,} rows were too many to record: some sources were louder than measured"
