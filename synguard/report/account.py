"""The report: what was banned or would have been in a span of time, why, who was spared, possible false positives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv6Network
from typing import Final

from synguard.addresses import EMBEDDING, NetworkIndex, first_found, format_network, forms, one_party
from synguard.doctor.findings import Finding
from synguard.incidents import Incident
from synguard.ledger.records import ActionRecord, BanRecord, FalsePositives, VerdictRecord
from synguard.model import Action, Mode, Origin, Scope, VerdictKind
from synguard.plain import count
from synguard.readings import Protected
from synguard.report.timeline import Timeline

MOST_BANS: Final = 20_000
"""Bans a report holds; a flood must not make it larger than a person's disk or patience."""
MOST_VERDICTS: Final = 20_000
"""Verdicts a report looks at, the latest."""


@dataclass(frozen=True, slots=True)
class PossibleFalsePositive:
    """Innocent people whom a ban may stop."""

    target: str
    reason: str
    somebody: bool = True
    """Whether somebody is known to be there; False where it is only that others share the ban."""


@dataclass(frozen=True, slots=True)
class Account:  # wide: one record of a whole report
    """All that a report tells."""

    since: datetime
    until: datetime
    mode: Mode
    running: bool
    bans: tuple[BanRecord, ...]
    spared: tuple[VerdictRecord, ...]
    spoofed: tuple[VerdictRecord, ...]
    watched: int
    """Targets that were over a limit and never reached the point of action."""
    incidents: tuple[Incident, ...]
    possible_false_positives: tuple[PossibleFalsePositive, ...]
    actions: tuple[ActionRecord, ...]
    timeline: Timeline
    host: str = ""
    """The host's name."""
    findings: tuple[Finding, ...] = ()
    """What the doctor says of queues, cookies and listeners now."""
    false_positives: Mapping[str, FalsePositives] = field(default_factory=dict)
    """Ban id → the clients that were served although that dry-run ban stood; bans that touched none are absent."""
    clients_watched: bool = False
    """Whether an agent looked for such clients."""
    embedding: tuple[IPv6Network, ...] = EMBEDDING
    """Prefixes whose addresses embed IPv4 ones, each of which is a party of its own."""
    cut: tuple[str, ...] = ()
    """What was left out so that the report stays small, one sentence each."""

    @property
    def real(self) -> tuple[BanRecord, ...]:
        """Bans that reached the kernel."""
        return tuple(record for record in self.bans if not record.ban.dry_run)

    @property
    def enforced(self) -> bool:
        """Whether automatic bans reach the kernel, or did in this time; bans by hand do so in dry-run too."""
        return self.mode is Mode.ENFORCE or any(record.ban.origin is Origin.AUTO for record in self.real)

    @property
    def dry_run_bans(self) -> tuple[BanRecord, ...]:
        """Bans of a dry run."""
        return tuple(record for record in self.bans if record.ban.dry_run)


def possible_false_positives_in(
    bans: Iterable[BanRecord],
    peers: Mapping[str, int],
    protected: Protected,
    now: datetime,
    *,
    ended_too: bool = False,
) -> tuple[PossibleFalsePositive, ...]:
    """Return the active bans, real or dry-run, that may stop innocent people, and why; those that ended if asked.

    ``peers`` is target → addresses in it that hold a completed connection now. Where the target is one source and
    was banned for its connections, that peer is the offender.
    """
    parties = NetworkIndex(protected.networks)
    found: dict[str, dict[str, bool]] = {}
    for record in bans:
        if not (ended_too or record.stands(now)):
            continue
        ban, word = record.ban, format_network(record.ban.target)
        if ban.action is Action.CHALLENGE:  # refuses no one
            continue
        if ban.header is not None:
            header = f"clients that were never served and whose SYNs bear the dropped header ({ban.header})"
            found.setdefault(word, {})[header] = False
            continue
        reasons = found.setdefault(word, {})
        party = first_found(parties.overlapping, forms(ban.target, protected.embedding))
        if party is not None:
            reasons[f"covers {format_network(party)}, {protected.networks.get(party, 'protected')}"] = True
        wide = not one_party(ban.target, protected.embedding)
        if peers.get(word) and (wide or ban.scope is Scope.NEW):
            reasons[f"peers with a completed connection now: {peers[word]}"] = True
        if wide:
            sources = max((one.sources for one in ban.evidence), default=0)
            offenders = f"{count(sources, 'source')} offended" if sources else "banned by hand"
            reasons[f"everybody else in this prefix shares the ban; {offenders}"] = False
    return tuple(
        PossibleFalsePositive(word, reason, somebody)
        for word, reasons in found.items()
        for reason, somebody in reasons.items()
    )


def of_kind(records: Sequence[VerdictRecord], kind: VerdictKind) -> tuple[VerdictRecord, ...]:
    """Return the records of one kind of verdict."""
    return tuple(record for record in records if record.verdict.kind is kind)


def cut_words(bans: int, verdicts: int) -> tuple[str, ...]:
    """Return what was left out where as many bans and verdicts were read as a report holds."""
    return tuple(
        f"What the {kind} before the latest {most:,} were: a report holds no more."
        for kind, number, most in (("bans", bans, MOST_BANS), ("verdicts", verdicts, MOST_VERDICTS))
        if number >= most
    )
