"""The verdict table: what was said of whom, reported once per incident however often it was said.

An attacker chooses how many targets there are. Each incident (and each day outside incidents) keeps at most
``TARGETS_KEPT`` rows per kind of verdict; the rest is counted in one row of ``others`` per policy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from synguard.addresses import Network, format_network
from synguard.ledger.records import VerdictRecord
from synguard.ledger.rows import VERDICT_READ, evidence_text, network_columns, to_us, verdict_record
from synguard.model import Verdict

TARGETS_KEPT: Final = 4096
"""About 2 MB an incident at most; more than anyone reads, and as many as a report sums up well."""

_UPDATE: Final = """
    UPDATE verdict SET
        last_at = max(last_at, :at), times = times + 1, peak = max(peak, :score),
        reason = :reason, evidence = :evidence, cause = :cause
    WHERE period = :period AND kind = :kind AND others = :others AND target = :target AND policy = :policy"""
_INSERT: Final = """
    INSERT INTO verdict (incident, period, kind, target, policy, others, version, prefixlen, first_address,
                         last_address, first_at, last_at, times, peak, reason, evidence, cause)
    VALUES (:incident, :period, :kind, :target, :policy, :others, :version, :prefixlen, :first_address,
            :last_address, :at, :at, 1, :score, :reason, :evidence, :cause)"""
_OTHERS: Final = {
    "target": "",
    "others": 1,
    "version": None,
    "prefixlen": None,
    "first_address": None,
    "last_address": None,
    "reason": f"more than {TARGETS_KEPT} targets: the others are counted here, not listed",
    "evidence": "[]",
    "cause": "",
}


def record_verdicts(db: sqlite3.Connection, verdicts: Sequence[Verdict], at: datetime, incident: str | None) -> None:
    """Add verdicts to the rows of their incident, or of their UTC day where there is none."""
    period = incident or at.astimezone(UTC).strftime("%Y-%m-%d")
    kept: dict[str, int] = {}
    for verdict in verdicts:
        values = {**_columns(verdict), "incident": incident, "period": period, "at": to_us(at)}
        if db.execute(_UPDATE, values).rowcount:
            continue
        kind = verdict.kind.value
        if kind not in kept:
            kept[kind] = _rows_of(db, period, kind)
        if kept[kind] < TARGETS_KEPT:
            kept[kind] += 1
            db.execute(_INSERT, values)
        elif not db.execute(_UPDATE, values | _OTHERS).rowcount:
            db.execute(_INSERT, values | _OTHERS)


def _columns(verdict: Verdict) -> dict[str, Any]:
    target = verdict.target
    version, prefixlen, first, last = network_columns(target) if target else (None, None, None, None)
    return {
        "kind": verdict.kind.value,
        "target": format_network(target) if target else "",
        "policy": verdict.policy,
        "others": 0,
        "version": version,
        "prefixlen": prefixlen,
        "first_address": first,
        "last_address": last,
        "score": verdict.score,
        "reason": verdict.reason,
        "evidence": evidence_text(verdict.evidence),
        "cause": verdict.cause.value,
    }


def _rows_of(db: sqlite3.Connection, period: str, kind: str) -> int:
    found = db.execute(
        "SELECT count(*) FROM verdict WHERE period = ? AND kind = ? AND others = 0", (period, kind)
    ).fetchone()
    return int(found[0])


def verdicts_since(db: sqlite3.Connection, since: datetime, limit: int, until: datetime) -> list[VerdictRecord]:
    """Return verdicts last given at ``since`` or later and first before ``until``, latest first."""
    rows = db.execute(
        f"SELECT {VERDICT_READ} FROM verdict WHERE last_at >= ? AND first_at < ? "  # noqa: S608  # constants only
        "ORDER BY last_at DESC, seq DESC LIMIT ?",
        (to_us(since), to_us(until), limit),
    )
    return [verdict_record(row) for row in rows]


def verdicts_of(db: sqlite3.Connection, network: Network, limit: int) -> list[VerdictRecord]:
    """Return verdicts about targets that share an address with ``network``, latest first."""
    version, _, first, last = network_columns(network)
    rows = db.execute(
        f"SELECT {VERDICT_READ} FROM verdict WHERE version = ? AND first_address <= ? AND last_address >= ? "  # noqa: S608  # constants only
        "ORDER BY last_at DESC, seq DESC LIMIT ?",
        (version, last, first, limit),
    )
    return [verdict_record(row) for row in rows]
