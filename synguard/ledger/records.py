"""What the ledger gives back beside the model's own words: each with what happened after it was written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from synguard.model import Ban, Verdict


@dataclass(frozen=True, slots=True)
class BanRecord:
    """One ban and what became of it."""

    ban: Ban
    ended_at: datetime | None = None
    """When it was ended; None where it stands, or has lapsed with nothing in its place."""
    ended_why: str = ""
    """``replaced``, ``expired``, or the words given to ``end_bans``; empty while ``ended_at`` is None."""
    packets: int = 0
    """Packets the kernel stopped, summed over restarts and reboots."""
    bytes: int = 0
    last_hit_at: datetime | None = None
    """When a read of the kernel's counters last found more packets than the read before."""

    def stands(self, now: datetime) -> bool:
        """Return whether the ban is neither ended nor lapsed at ``now``."""
        return self.ended_at is None and self.ban.active(now)


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """All verdicts of one kind and policy about one target in one incident, told as one."""

    verdict: Verdict
    """The latest; its ``score`` is the highest there was."""
    first_at: datetime
    last_at: datetime
    times: int
    incident: str | None = None
    """None for verdicts in calm times, which are kept by the day."""
    others: bool = False
    """Stands for every further target of its incident, kind and policy, once too many had been kept one by one."""


@dataclass(frozen=True, slots=True)
class Offence:
    """How often one target was banned automatically."""

    times: int
    last: datetime
    """When the latest of these bans began."""


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """Something that synguard or a person did, in one sentence."""

    at: datetime
    kind: str
    text: str
