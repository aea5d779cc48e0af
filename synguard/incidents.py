"""One attack from onset to calm: the record of it, its phases and the moves between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final


class Phase(StrEnum):
    """Where an incident stands."""

    CALM = "calm"
    ATTACK = "attack"
    COOLING = "cooling"


MOVES: Final[Mapping[Phase, frozenset[Phase]]] = {
    Phase.CALM: frozenset({Phase.ATTACK}),
    Phase.ATTACK: frozenset({Phase.COOLING}),
    Phase.COOLING: frozenset({Phase.CALM, Phase.ATTACK}),
}


@dataclass(frozen=True, slots=True)
class Incident:
    """One attack from onset to calm."""

    id: str
    phase: Phase
    kind: str
    """``closed-port``, ``resets``, ``syn-flood``, ``connection-flood`` or ``spoofed-flood``: the gravest so far."""
    started_at: datetime
    ended_at: datetime | None = None
    peak_half_open: int = 0
    peak_syn_pps: float = 0.0
    peak_connections: int = 0
    sources: int = 0
    """The most distinct sources over a limit at one moment."""
    bans: int = 0
    spared: int = 0
    note: str = ""
