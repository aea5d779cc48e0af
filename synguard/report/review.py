"""Which bans end soon, and whether their targets still hit: what ``review`` weighs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from synguard.addresses import format_network
from synguard.decision.scores import ACT
from synguard.ledger.records import BanRecord
from synguard.model import NEVER, Hits
from synguard.output.times import ago
from synguard.status.model import Status

HITTING_S: Final = 60.0
"""A target whose last stopped packet is younger still hits; SYN retries of one client alone are 63 s apart at most."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One ban under review."""

    record: BanRecord
    hitting: bool
    """Whether its target still sends packets that the ban stops."""
    quiet_s: float
    """Seconds since the last stopped packet, or since the ban began where there was none."""
    times: int
    """How often the target has been banned, this time included."""
    half_open: int = 0
    """Its half-open sockets now."""
    evidence: str = ""
    """What a running agent sees of it now against its limit; empty where it sees nothing, or does not run."""

    def signs(self, now: datetime) -> str:
        """Return by what one knows that its target still hits, in a few words."""
        if not self.hitting:
            return f"last seen {ago(self.record.last_hit_at, now)}"
        if self.evidence:
            return f"still hits, {self.evidence}"
        if self.half_open:
            return f"still hits, {self.half_open} half-open sockets now"
        return f"still hits, last packet {ago(self.record.last_hit_at, now)}"


@dataclass(frozen=True, slots=True)
class Traces:
    """What is seen of targets now, beside the counters of the kernel."""

    grown: frozenset[str] = frozenset()
    """Ids of bans whose counts grew between two reads just now."""
    half_open: Mapping[str, int] = field(default_factory=dict)
    """Target → half-open sockets now; targets with none are absent."""
    evidence: Mapping[str, str] = field(default_factory=dict)
    """Target → what a running agent sees of it against its limit."""


def candidates(
    records: Iterable[BanRecord],
    now: datetime,
    within_s: float | None,
    traces: Traces,
    offences: Mapping[str, int],
) -> list[Candidate]:
    """Return the bans, dry-run ones too, that end within ``within_s`` seconds, soonest first; None takes all.

    ``offences`` is target → times banned.
    """
    latest = None if within_s is None else now + timedelta(seconds=within_s)
    due = [
        record
        for record in records
        if record.stands(now)
        and (latest is None or (record.ban.expires_at is not None and record.ban.expires_at <= latest))
    ]
    due.sort(key=lambda record: (record.ban.expires_at or NEVER, record.ban.id))
    return [_candidate(record, now, traces, offences) for record in due]


def _candidate(record: BanRecord, now: datetime, traces: Traces, offences: Mapping[str, int]) -> Candidate:
    word = format_network(record.ban.target)
    half_open, evidence = traces.half_open.get(word, 0), traces.evidence.get(word, "")
    counts = record.last_hit_at is not None and _quiet_s(record, now) < HITTING_S
    return Candidate(
        record=record,
        hitting=bool(counts or half_open or evidence or record.ban.id in traces.grown),
        quiet_s=_quiet_s(record, now),
        times=max(record.ban.times, offences.get(word, 1)),
        half_open=half_open,
        evidence=evidence,
    )


def grown_between(before: Mapping[str, Hits], after: Mapping[str, Hits]) -> frozenset[str]:
    """Return the ids that stopped more packets in the second read than in the first."""
    return frozenset(id_ for id_, hits in after.items() if id_ in before and hits.packets > before[id_].packets)


def evidence_now(status: Status | None) -> dict[str, str]:
    """Return target → evidence of those whom a running agent, whose words these are, sees over a limit."""
    targets = status.targets if status else ()
    return {one.target: ", ".join(one.evidence) or one.reason for one in targets if one.score >= ACT}


def _quiet_s(record: BanRecord, now: datetime) -> float:
    return max((now - (record.last_hit_at or record.ban.created_at)).total_seconds(), 0.0)
