"""Ledger records as JSON objects: the keys that scripts depend on (docs: the command line's contract)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from synguard.clock import rfc3339
from synguard.incidents import Incident
from synguard.jsonable import fields_of
from synguard.ledger.records import BanRecord, VerdictRecord
from synguard.model import Ban, Evidence


def moment(at: datetime | None) -> str | None:
    """Return RFC 3339 in UTC, or None."""
    return None if at is None else rfc3339(at)


def evidence_shape(evidence: Evidence) -> dict[str, Any]:
    """Return one signal against its limit."""
    return fields_of(evidence, "signal value limit ports sources error") | {"text": str(evidence)}


def ban_shape(ban: Ban, now: datetime) -> dict[str, Any]:
    """Return what was ordered or decided."""
    remaining = ban.left(now)
    return {
        **fields_of(ban, "id target scope action ports origin policy reason score times created_at expires_at"),
        "left_s": None if remaining is None else round(remaining.total_seconds(), 3),
        **fields_of(ban, "dry_run forced"),
        "header": None if ban.header is None else str(ban.header),
        "evidence": [evidence_shape(one) for one in ban.evidence],
    }


def record_shape(record: BanRecord, now: datetime) -> dict[str, Any]:
    """Return a ban and what became of it."""
    shape = ban_shape(record.ban, now) | fields_of(
        record, "packets bytes answered passed dropped last_hit_at ended_at ended_why"
    )
    stands = record.stands(now)
    return shape | {"active": stands, "left_s": shape["left_s"] if stands else 0.0}


def verdict_shape(record: VerdictRecord) -> dict[str, Any]:
    """Return verdicts of one kind about one target, reported as one."""
    return {
        **fields_of(record.verdict, "target kind policy score reason"),
        "evidence": [evidence_shape(one) for one in record.verdict.evidence],
        **fields_of(record, "first_at last_at times incident others"),
    }


def incident_shape(incident: Incident) -> dict[str, Any]:
    """Return one attack from onset to calm."""
    names = "id phase kind started_at ended_at peak_half_open peak_syn_pps peak_connections sources bans spared"
    return fields_of(incident, names) | {"reason": incident.note or incident.kind}
