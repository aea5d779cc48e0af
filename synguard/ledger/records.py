"""What the ledger gives back beside the model's own words: each with what happened after it was written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from synguard.model import Ban, Evidence, Signal, Verdict


@dataclass(frozen=True, slots=True)
class BanRecord:
    """One ban and what became of it."""

    ban: Ban
    ended_at: datetime | None = None
    """When it was ended; None where it stands, or has expired with nothing in its place."""
    ended_why: str = ""
    """``replaced``, ``expired``, or the words given to ``end_bans``; empty while ``ended_at`` is None."""
    packets: int = 0
    """Packets the kernel stopped, summed over restarts and reboots."""
    bytes: int = 0
    last_hit_at: datetime | None = None
    """When a read of the kernel's counters last found more packets than the read before."""
    answered: int = 0
    """Of ``packets``, SYNs that were answered with a cookie."""
    passed: int = 0
    """SYNs of a challenged target that were let through to the listener."""

    @property
    def dropped(self) -> int:
        """Of ``packets``, those that were not answered: dropped, rejected, or beyond the rate of a limited target."""
        return self.packets - self.answered

    def stands(self, now: datetime) -> bool:
        """Return whether the ban is neither ended nor expired at ``now``."""
        return self.ended_at is None and self.ban.active(now)


def evidence_of(text: str) -> tuple[Evidence, ...]:
    """Return the evidence of a JSON list of objects with the fields' own names."""
    if text == "[]":
        return ()
    return tuple(
        Evidence(Signal(one["signal"]), one["value"], one["limit"], tuple(one["ports"]), one["sources"], one["error"])
        for one in json.loads(text)
    )


class ListedBan(NamedTuple):  # wide: one record, a field a column of the ledger
    """A ban as it stands in the table, for lists of very many: nothing of it is taken apart."""

    id: str
    target: str
    """As ``format_network`` writes it."""
    scope: str
    action: str
    ports: str
    """``80,443``; empty for all."""
    origin: str
    policy: str
    reason: str
    score: float
    times: int
    created_us: int
    """Times are microseconds since 1970."""
    expires_us: int | None
    dry_run: int
    forced: int
    header: str
    """Empty for none."""
    evidence: str
    """A JSON list."""
    packets: int
    bytes: int
    answered: int
    passed: int
    last_hit_us: int | None
    ended_us: int | None
    ended_why: str

    def stands(self, now_us: int) -> bool:
        """Return whether the ban is neither ended nor expired."""
        return self.ended_us is None and (self.expires_us is None or now_us < self.expires_us)


@dataclass(frozen=True, slots=True)
class Counted:
    """What the ledger knows of the packets that an active ban stopped."""

    packets: int
    """Summed over restarts and reboots, as of the last read of the kernel that was kept."""
    kernel_packets: int
    """What the kernel itself said in that read."""
    last_hit_at: datetime | None


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """All verdicts of one kind and policy about one target in one incident, reported as one."""

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
class FalsePositives:
    """The clients that a dry-run ban would have turned away: they completed a handshake while it stood."""

    ban_id: str
    clients: int
    """Distinct addresses; those that were served before the ban are none, for they would have kept a way through."""
    examples: tuple[str, ...]
    """Some of them, the first ones; fewer than ``clients``, or none where it is not known who of many offended."""
    last_at: datetime


OVERLOOKED: Final = "overlooked"
"""Kind of the action which says that there were too many clients to look for those whom dry-run bans touched."""


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """Something that synguard or a person did, in one sentence."""

    at: datetime
    kind: str
    text: str


class Figure(StrEnum):
    """What the history keeps of the whole host; rates are per second."""

    HALF_OPEN = "half_open"
    """Sockets in ``SYN_RECV``."""
    CONNECTIONS = "connections"
    """Sockets past the handshake and not yet in ``TIME_WAIT``."""
    SYNS = "syns"
    """SYNs on the wire; known only while they are sampled, which they are under pressure."""
    COMPLETED = "completed"
    """Handshakes that clients completed."""
    COOKIES_SENT = "cookies_sent"
    """SYNs that were answered by a cookie, because a SYN queue was full."""
    COOKIES_BACK = "cookies_back"
    """Cookies that came back, each a completed handshake."""
    DROPPED = "dropped"
    """SYNs that a full SYN queue turned into nothing."""
    REFUSED = "refused"
    """Handshakes that a full accept queue refused: the application is slow."""


@dataclass(frozen=True, slots=True)
class Track:
    """How one figure went over a stretch of time."""

    seconds: float
    """For how long it was known; what is not known is no zero."""
    total: float
    """The figure times the seconds it held: for a rate, how many there were."""
    least: float
    most: float

    @property
    def mean(self) -> float:
        """The mean while it was known."""
        return self.total / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """What the agent saw of the whole host over a stretch of time: one row of history, or several made one."""

    at: datetime
    """When it begins."""
    span_s: float
    """From the first moment in it that was watched to the last."""
    watched_s: float
    """How long an agent watched within it."""
    censored_s: float = 0.0
    """How long a SYN queue was full in it: the true count of half-open sockets was higher."""
    fill: float = 0.0
    """The fullest that a SYN queue got, 1.0 for full."""
    tracks: Mapping[Figure, Track] = field(default_factory=dict)
    """Figures that were not known at any moment of it are absent."""

    @property
    def until(self) -> datetime:
        """When it ends."""
        return self.at + timedelta(seconds=self.span_s)
