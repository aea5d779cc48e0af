"""What one pass from wanted to actual found and did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from synguard.enforcer.plane import Delta
from synguard.model import KernelBan


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one pass did."""

    change: Delta = field(default_factory=Delta)
    drift: tuple[str, ...] = ()
    """What others had removed or changed since the last pass, and what of ours was not in the ledger; sentences."""
    held: Mapping[str, KernelBan] = field(default_factory=dict)
    """Key → ban as the kernel holds it now, a view that later passes change; counters are of the last read-back."""
    covered: Mapping[str, str] = field(default_factory=dict)
    """Ban id → the longer ban of the same target that stands for it in the kernel."""
    foreign: tuple[str, ...] = ()
    """Rules and members in our chains and sets that are not ours, as of the last read-back."""
    read_at: datetime | None = None
    """When the counters in ``held`` were last read back."""
    disputed: str = ""
    """Why repairs are put off: another program keeps undoing them. One sentence, or nothing."""
