"""How large an attack is: a cheap one that was told must not hide one of another order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from synguard.model import Incident

GROWTH: Final = 10.0
"""How many times as large as what was told an attack must be to be told again, and to use the room kept for that."""
LEAST: Final = 32.0
"""An attack that was smaller counts as one of so many SYNs a second, half-open sockets, connections."""


@dataclass(frozen=True, slots=True)
class AttackSize:
    """Peaks of an attack; what is not known is infinite."""

    syn_pps: float = 0.0
    half_open: float = 0.0
    connections: float = 0.0

    def dwarfs(self, other: AttackSize) -> bool:
        """Return whether this is of another order than ``other`` by any measure."""
        pairs = (
            (self.syn_pps, other.syn_pps),
            (self.half_open, other.half_open),
            (self.connections, other.connections),
        )
        return any(mine >= GROWTH * max(theirs, LEAST) for mine, theirs in pairs)

    def joined(self, other: AttackSize) -> AttackSize:
        """Return the larger by each measure."""
        return AttackSize(
            max(self.syn_pps, other.syn_pps),
            max(self.half_open, other.half_open),
            max(self.connections, other.connections),
        )


NO_SIZE: Final = AttackSize()


def size_of(incident: Incident) -> AttackSize:
    """Return how large an incident was at its peak."""
    return AttackSize(incident.peak_syn_pps, incident.peak_half_open, incident.peak_connections)
