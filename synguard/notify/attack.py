"""Incidents that follow one another closely, as one attack with one start and one end to tell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

from synguard.incidents import Incident
from synguard.notify.message import AttackFigures

MOST_PORTS: Final = 8
GROWTH: Final = 10.0
"""How many times as large as reported an attack must be to be reported again, and to use the room kept for that."""
LEAST: Final = 32.0
"""An attack that was smaller counts as one of so many SYNs a second, half-open sockets, connections."""


class AttackSize(NamedTuple):
    """Peaks of an attack; what is not known is infinite. A cheap attack must not hide one of another order."""

    syn_pps: float = 0.0
    half_open: float = 0.0
    connections: float = 0.0

    def dwarfs(self, other: AttackSize) -> bool:
        """Return whether this is of another order than ``other`` by any measure."""
        return any(mine >= GROWTH * max(theirs, LEAST) for mine, theirs in zip(self, other, strict=True))


_NOTHING: Final = AttackSize()


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack as far as it is known; incidents before the last one are added up in ``before``."""

    before: AttackFigures
    current: Incident | None
    """The incident under way or the last one; None just after a restart."""
    over_since: float | None
    """Monotonic, seconds; None while an incident is under way."""
    told: bool = False
    seen_at: float = 0.0
    """When it was first seen, monotonic."""
    digest_at: float = 0.0
    """When the next digest is due, monotonic."""
    told_size: AttackSize = _NOTHING
    """How large it was when it was last reported."""
    told_ports: tuple[str, ...] = ()
    """Where it was then."""
    told_at: float = 0.0
    """When that was, monotonic."""

    @property
    def size(self) -> AttackSize:
        """How large it is so far."""
        before, current = AttackSize(self.before.peak_syn_pps, self.before.peak_half_open), self.current
        if current is None:
            return before
        now = AttackSize(current.peak_syn_pps, current.peak_half_open, current.peak_connections)
        return AttackSize(*map(max, before, now))

    @property
    def elsewhere(self) -> bool:
        """Whether it has come to ports that were not reported."""
        return bool(set(self.before.ports) - set(self.told_ports))

    def figures(self, dry_run: bool) -> AttackFigures:
        """Return what it came to so far; ``ended_at`` is set where its last incident has ended."""
        before, current = self.before, self.current
        if current is None:
            return replace(before, dry_run=dry_run)
        return replace(
            before,
            kind=current.kind,
            ended_at=current.ended_at,
            incidents=before.incidents + 1,
            bans=before.bans + current.bans,
            spared=max(before.spared, current.spared),
            peak_half_open=max(before.peak_half_open, current.peak_half_open),
            peak_syn_pps=max(before.peak_syn_pps, current.peak_syn_pps),
            dry_run=dry_run,
        )

    def told_now(self, now: float) -> Attack:
        """Return it as one that was reported at this moment."""
        return replace(self, told=True, told_size=self.size, told_ports=self.before.ports, told_at=now)

    def goes_on(self, incident: Incident, now: float) -> Attack:
        """Return it with what is now known of its incident, or with another incident that followed."""
        over = None if incident.ended_at is None else now
        if self.current is not None and self.current.id == incident.id:
            return replace(self, current=incident, over_since=self.over_since if over and self.over_since else over)
        return replace(self, before=self.figures(self.before.dry_run), current=incident, over_since=over)

    def on(self, ports: tuple[str, ...]) -> Attack:
        """Return it with these ports among the attacked ones."""
        known = self.before.ports
        fresh = tuple(port for port in ports if port not in known)
        if not fresh or len(known) >= MOST_PORTS:
            return self
        return replace(self, before=replace(self.before, ports=(*known, *fresh)[:MOST_PORTS]))


def began(incident: Incident, now: float, *, dry_run: bool) -> Attack:
    """Return the attack that an incident begins."""
    nothing = AttackFigures(incident.id, incident.kind, incident.started_at, None, 0, 0, 0, 0, 0.0, (), dry_run)
    return Attack(nothing, incident, None if incident.ended_at is None else now, seen_at=now)


def carried_over(figures: AttackFigures, now: float, ended_at: datetime) -> Attack:
    """Return an attack whose start an earlier agent reported; it is over unless an incident follows soon."""
    ended = replace(figures, ended_at=ended_at, restarts=figures.restarts + 1)
    known = AttackSize(figures.peak_syn_pps, figures.peak_half_open, float("inf"))
    return Attack(ended, None, now, told=True, seen_at=now, told_size=known, told_ports=figures.ports, told_at=now)
