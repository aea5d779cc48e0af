"""Ledger records as JSON objects: the keys that scripts depend on (docs: the command line's contract)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from synguard.addresses import format_network
from synguard.clock import rfc3339
from synguard.ledger.records import BanRecord, VerdictRecord
from synguard.model import Ban, Evidence, Incident


def moment(at: datetime | None) -> str | None:
    """Return RFC 3339 in UTC, or None."""
    return None if at is None else rfc3339(at)


def evidence_shape(evidence: Evidence) -> dict[str, Any]:
    """Return one signal against its limit."""
    return {
        "signal": evidence.signal.value,
        "value": evidence.value,
        "limit": evidence.limit,
        "ports": list(evidence.ports),
        "sources": evidence.sources,
        "error": evidence.error,
        "text": str(evidence),
    }


def ban_shape(ban: Ban, now: datetime) -> dict[str, Any]:
    """Return what was ordered or decided."""
    remaining = ban.left(now)
    return {
        "id": ban.id,
        "target": format_network(ban.target),
        "scope": ban.scope.value,
        "action": ban.action.value,
        "ports": list(ban.ports),
        "origin": ban.origin.value,
        "policy": ban.policy,
        "reason": ban.reason,
        "score": ban.score,
        "times": ban.times,
        "created_at": rfc3339(ban.created_at),
        "expires_at": moment(ban.expires_at),
        "left_s": None if remaining is None else round(remaining.total_seconds(), 3),
        "dry_run": ban.dry_run,
        "forced": ban.forced,
        "evidence": [evidence_shape(one) for one in ban.evidence],
    }


def record_shape(record: BanRecord, now: datetime) -> dict[str, Any]:
    """Return a ban and what became of it."""
    return ban_shape(record.ban, now) | {
        "packets": record.packets,
        "bytes": record.bytes,
        "last_hit_at": moment(record.last_hit_at),
        "ended_at": moment(record.ended_at),
        "ended_why": record.ended_why,
        "active": record.stands(now),
        "left_s": ban_shape(record.ban, now)["left_s"] if record.stands(now) else 0.0,
    }


def verdict_shape(record: VerdictRecord) -> dict[str, Any]:
    """Return verdicts of one kind about one target, told as one."""
    verdict = record.verdict
    return {
        "target": None if verdict.target is None else format_network(verdict.target),
        "kind": verdict.kind.value,
        "policy": verdict.policy,
        "score": verdict.score,
        "reason": verdict.reason,
        "evidence": [evidence_shape(one) for one in verdict.evidence],
        "first_at": rfc3339(record.first_at),
        "last_at": rfc3339(record.last_at),
        "times": record.times,
        "incident": record.incident,
        "others": record.others,
    }


def incident_shape(incident: Incident) -> dict[str, Any]:
    """Return one attack from onset to calm."""
    return {
        "id": incident.id,
        "phase": incident.phase.value,
        "kind": incident.kind,
        "started_at": rfc3339(incident.started_at),
        "ended_at": moment(incident.ended_at),
        "peak_half_open": incident.peak_half_open,
        "peak_syn_pps": incident.peak_syn_pps,
        "peak_connections": incident.peak_connections,
        "sources": incident.sources,
        "bans": incident.bans,
        "spared": incident.spared,
        "reason": incident.note or incident.kind,
    }
