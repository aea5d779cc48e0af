"""The report: what was banned or would have been in a span of time, why, who was spared, who could be hurt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from synguard.addresses import NetworkIndex, format_network
from synguard.clock import rfc3339
from synguard.ledger.records import ActionRecord, BanRecord, VerdictRecord
from synguard.model import Incident, Mode, Origin, Scope, VerdictKind
from synguard.readings import Protected
from synguard.report.shapes import incident_shape, record_shape, verdict_shape

MOST_BANS: Final = 20_000
"""Bans a report holds; a flood must not make it larger than a person's disk or patience."""


@dataclass(frozen=True, slots=True)
class Hurt:
    """Innocent people whom a ban may stop."""

    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class Account:
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
    could_be_hurt: tuple[Hurt, ...]
    actions: tuple[ActionRecord, ...]

    @property
    def real(self) -> tuple[BanRecord, ...]:
        """Bans that reached the kernel."""
        return tuple(record for record in self.bans if not record.ban.dry_run)

    @property
    def would_be(self) -> tuple[BanRecord, ...]:
        """Bans of a dry run."""
        return tuple(record for record in self.bans if record.ban.dry_run)


def who_could_be_hurt(
    bans: Iterable[BanRecord],
    peers: Mapping[str, int],
    protected: Protected,
    now: datetime,
    *,
    ended_too: bool = False,
) -> tuple[Hurt, ...]:
    """Return the standing bans, real or would-be, that may stop innocent people, and why; those that ended if asked.

    ``peers`` is target → addresses in it that hold a completed connection now. Where the target is one source and
    was banned for its connections, that peer is the offender.
    """
    parties = NetworkIndex(protected.networks)
    found: dict[str, list[str]] = {}
    for record in bans:
        if not (ended_too or record.stands(now)):
            continue
        ban, word = record.ban, format_network(record.ban.target)
        reasons = found.setdefault(word, [])
        party = parties.overlapping(ban.target)
        if party is not None:
            reasons.append(f"covers {format_network(party)}, {protected.networks.get(party, 'protected')}")
        if peers.get(word) and (_is_wide(record) or ban.scope is Scope.NEW):
            reasons.append(f"peers with a completed connection now: {peers[word]}")
        if _is_wide(record):
            sources = max((one.sources for one in ban.evidence), default=0)
            offenders = f"{sources} sources offended" if sources else "banned by hand"
            reasons.append(f"everybody else in this prefix shares the ban; {offenders}")
    return tuple(Hurt(word, reason) for word, reasons in found.items() for reason in dict.fromkeys(reasons))


def _is_wide(record: BanRecord) -> bool:
    return record.ban.target.prefixlen < (32 if record.ban.target.version == 4 else 64)


def paragraph(account: Account) -> str:
    """Return what happened in a few sentences, the gravest first."""
    sentences = [_incident_sentence(account.incidents)]
    if account.real:
        automatic = sum(record.ban.origin is Origin.AUTO for record in account.real)
        by_hand = len(account.real) - automatic
        packets = sum(record.packets for record in account.real)
        sentences.append(
            f"{_count(automatic, 'target was', 'targets were')} banned automatically and {by_hand} by hand; "
            f"{_count(packets, 'packet was', 'packets were')} stopped."
        )
    if account.would_be:
        targets = len({record.ban.target for record in account.would_be})
        sentences.append(f"In dry-run, {_count(targets, 'target', 'targets')} would have been banned; nothing was.")
    if not account.bans:
        sentences.append("Nobody was banned or would have been.")
    if account.spoofed:
        sentences.append(
            "A flood came from forged addresses: banning those would only hurt others; SYN cookies let clients through."
        )
    if account.spared:
        sentences.append(f"{_count(len(account.spared), 'target was', 'targets were')} over a limit and spared.")
    if account.could_be_hurt:
        hurt = len({one.target for one in account.could_be_hurt})
        sentences.append(f"{_count(hurt, 'ban', 'bans')} could hurt innocent people, see below.")
    if not account.running:
        sentences.append("No agent runs now.")
    return " ".join(sentences)


def next_command(account: Account) -> str:
    """Return the command that a person most likely wants next."""
    if not account.running and not account.bans:
        return "synguard run"
    if account.could_be_hurt:
        return f"synguard why {account.could_be_hurt[0].target}"
    if account.would_be and not account.real:
        return "synguard run --enforce"
    if account.real:
        return "synguard review"
    return "synguard doctor"


def account_shape(account: Account) -> dict[str, Any]:
    """Return the report as JSON."""
    now = account.until
    return {
        "since": rfc3339(account.since),
        "until": rfc3339(now),
        "mode": account.mode.value,
        "running": account.running,
        "verdict": paragraph(account),
        "bans": [record_shape(record, now) for record in account.bans],
        "spared": [verdict_shape(record) for record in account.spared],
        "spoofed": [verdict_shape(record) for record in account.spoofed],
        "watched": account.watched,
        "incidents": [incident_shape(incident) for incident in account.incidents],
        "could_be_hurt": [{"target": one.target, "reason": one.reason} for one in account.could_be_hurt],
        "actions": [{"at": rfc3339(one.at), "kind": one.kind, "text": one.text} for one in account.actions],
        "next": next_command(account),
    }


def of_kind(records: Sequence[VerdictRecord], kind: VerdictKind) -> tuple[VerdictRecord, ...]:
    """Return the records of one kind of verdict."""
    return tuple(record for record in records if record.verdict.kind is kind)


def _incident_sentence(incidents: Sequence[Incident]) -> str:
    if not incidents:
        return "No attack was seen."
    kinds = ", ".join(sorted({incident.kind for incident in incidents}))
    going = sum(incident.ended_at is None for incident in incidents)
    still = f"; {going} still under way" if going else ""
    return f"{_count(len(incidents), 'attack', 'attacks')} ({kinds}){still}."


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
