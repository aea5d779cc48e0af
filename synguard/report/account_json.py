"""The report as JSON: the keys that scripts depend on."""

from __future__ import annotations

from typing import Any, Final

from synguard.clock import rfc3339
from synguard.jsonable import fields_of
from synguard.report.account import Account
from synguard.report.judgement import judged, judgement_shape
from synguard.report.next_steps import advice, advice_shape, next_command
from synguard.report.shapes import incident_shape, record_shape, verdict_shape
from synguard.report.timeline import timeline_shape

GENERATOR: Final = "synguard report"
"""Stands near the head of every report, whatever its form: by it a report is known as one that may be written over."""


def account_shape(account: Account) -> dict[str, Any]:
    """Return the report as JSON."""
    now = account.until
    judgement = judged(account)
    return {
        "generator": GENERATOR,
        "since": rfc3339(account.since),
        "until": rfc3339(now),
        "host": account.host,
        "mode": account.mode.value,
        "running": account.running,
        **judgement_shape(judgement),
        "advice": advice_shape(advice(account, judgement)),
        "next": next_command(account, judgement),
        "bans": [record_shape(record, now) for record in account.bans],
        "spared": [verdict_shape(record) for record in account.spared],
        "spoofed": [verdict_shape(record) for record in account.spoofed],
        "watched": account.watched,
        "incidents": [incident_shape(incident) for incident in account.incidents],
        "could_be_hurt": [fields_of(one, "target reason") for one in account.possible_false_positives],
        "touched": [
            {"ban": one.ban_id, **fields_of(one, "clients examples last_at")}
            for one in account.false_positives.values()
        ],
        "actions": [fields_of(one, "at kind text") for one in account.actions],
        "timeline": timeline_shape(account.timeline),
    }
