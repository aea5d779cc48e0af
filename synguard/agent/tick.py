"""What one tick came to, for those who observe ticks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from synguard.decision.engine import Decision
from synguard.detector.assessment import Assessment


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick, done."""

    assessment: Assessment
    decision: Decision
    blind: frozenset[str] = frozenset()
    """Sensors that cannot read at present: what the assessment says of theirs is of before."""


TickObserver = Callable[[Tick, float, datetime], None]
"""Told of a tick when all of it is done, with its monotonic and UTC time; must neither wait nor raise."""
