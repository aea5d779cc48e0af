"""What stands in the tables of the page: an account's records as words, so many and no more."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, takewhile
from typing import Any, Final

from synguard.addresses import format_network
from synguard.incidents import Incident
from synguard.ledger.records import BanRecord, Figure, Stretch, VerdictRecord
from synguard.model import Ban, Evidence, Origin
from synguard.output.times import clock_time
from synguard.plain import clipped
from synguard.report.account import Account
from synguard.report.ban_table import counted, state
from synguard.report.charts.host import STYLES
from synguard.report.charts.scales import number_label
from synguard.report.judgement import Judgement, over_limit
from synguard.report.timeline import COMPLETE, health_of
from synguard.units import evidence_clause, format_duration, format_ports

MOST_LINKS: Final = 4
"""Bans that an attack leads to."""
MOST_ROWS: Final = 200
"""Rows of each table of the page; --format json has them all."""
MOST_PRINTED: Final = 25
"""Of these, the rows that paper gets: a thousand bans made 64 pages that no one turns."""
MOST_WORDS: Final = 400
"""Characters of one reason; what an attacker can make longer is no longer read."""
LIMIT_AT: Final = 25.0
"""Where in a meter the limit stands, in hundredths; up to there it is even, from there on logarithmic."""
METER: Final = 100.0
"""Times its limit at which a meter is full."""


@dataclass(frozen=True, slots=True)
class HtmlRows:
    """Rows that are shown, and how many there are in all."""

    shown: list[dict[str, Any]]
    total: int

    @property
    def left_out(self) -> int:
        """How many are not shown."""
        return self.total - len(self.shown)


def tiles(account: Account, judgement: Judgement) -> list[dict[str, str]]:
    """Return the numbers at the head of the page."""
    enforced = account.enforced
    whole = account.timeline.share >= COMPLETE
    counts = {"automatic bans": judgement.made} if enforced else {}
    counts |= {"dry-run bans": judgement.would_be} if judgement.would_be or not enforced else {}
    return [
        *({"name": name, "value": f"{number:,}", "style": ""} for name, number in counts.items()),
        _stopped(account) if enforced else _false_positives(judgement),
        {"name": "worth a look", "value": f"{len(judgement.looks):,}", "style": "worry" if judgement.looks else ""},
        {"name": "attacks", "value": f"{len(account.incidents):,}", "style": ""},
        {
            "name": "of the time watched",
            "value": "100%" if whole else f"{account.timeline.share:.0%}",
            "style": "" if whole else "worry",
        },
    ]


def _stopped(account: Account) -> dict[str, str]:
    packets = sum(record.packets for record in account.real)
    return {"name": "packets stopped", "value": number_label(packets), "style": ""}


def _false_positives(judgement: Judgement) -> dict[str, str]:
    value = "?" if judgement.false_positives is None else f"{judgement.false_positives:,}"
    return {
        "name": "served clients refused",
        "value": value,
        "style": "" if judgement.false_positives == 0 else "worry",
    }


def ban_rows(account: Account) -> HtmlRows:
    """Return the automatic bans by target, those furthest over their limits first, then those by hand."""
    groups: dict[str, list[BanRecord]] = {}
    for record in account.bans:
        groups.setdefault(format_network(record.ban.target), []).append(record)
    ordered = sorted(groups.items(), key=lambda pair: -max(over_limit(one.ban.evidence) for one in pair[1]))
    return HtmlRows([_ban_row(account, target, group) for target, group in ordered[:MOST_ROWS]], len(ordered))


def _ban_row(account: Account, target: str, group: Sequence[BanRecord]) -> dict[str, Any]:
    worst = max(group, key=lambda one: over_limit(one.ban.evidence))
    latest = max(group, key=lambda one: one.ban.created_at)
    ban, now = worst.ban, account.until
    ports = f" to port {format_ports(ban.ports)}" if ban.ports else ""
    return {
        "target": target,
        "prefix": ban.target.prefixlen < ban.target.max_prefixlen,
        "times": len(group),
        "state": _state(latest, now),
        "dry": latest.ban.dry_run,
        "what": f"{'new connections' if ban.scope.value == 'new' else 'everything'}{ports}, {ban.effect}",
        "by": "by hand" if ban.origin is Origin.MANUAL else f"policy {ban.policy}",
        "first": clock_time(min(one.ban.created_at for one in group), now),
        "last": clock_time(latest.ban.created_at, now),
        "score": f"{ban.score:.0f}" if ban.score else "",
        "evidence": [_evidence(one) for one in ban.evidence],
        "reason": said_beyond(ban),
        "counted": "" if ban.dry_run else counted(latest, now),
        "touched": sum(
            account.false_positives[one.ban.id].clients for one in group if one.ban.id in account.false_positives
        ),
    }


def _state(record: BanRecord, now: datetime) -> str:
    if record.ban.dry_run:
        return "would be banned now" if record.stands(now) else "would have been banned"
    return state(record, now)


def _evidence(one: Evidence) -> dict[str, Any]:
    times = one.value / one.limit if one.limit > 0 else 0.0
    return {
        "signal": one.signal.value,
        "value": f"{one.value:,.0f}{f' ±{one.error:,.0f}' if one.error >= 1 else ''}{one.signal.unit}",
        "limit": f"{one.limit:g}{one.signal.unit}",
        "times": f"{times:.1f}" if times < 10 else f"{times:,.0f}",
        "width": round(meter(times), 1),
        "sources": one.sources,
        "ports": format_ports(one.ports) if one.ports else "",
    }


def meter(times: float) -> float:
    """Return how far a meter is filled, in hundredths, for evidence so many times its limit."""
    if times <= 1:
        return LIMIT_AT * max(times, 0.0)
    return min(LIMIT_AT + (100 - LIMIT_AT) * math.log10(times) / math.log10(METER), 100.0)


def said_beyond(ban: Ban) -> str:
    """Return what a ban's reason says beyond its evidence, which is shown by itself; empty where it says no more."""
    shown = evidence_clause(ban.evidence, ban.ports)
    return clipped(ban.reason.removeprefix(shown).removeprefix("; ") if ban.evidence else ban.reason, MOST_WORDS)


def verdict_rows(records: Sequence[VerdictRecord], now: datetime) -> HtmlRows:
    """Return verdicts, the most often given first."""
    ordered = sorted(records, key=lambda one: -one.times)
    return HtmlRows([_verdict_row(one, now) for one in ordered[:MOST_ROWS]], len(records))


def _verdict_row(record: VerdictRecord, now: datetime) -> dict[str, Any]:
    verdict = record.verdict
    target = "the whole flood" if verdict.target is None else format_network(verdict.target)
    return {
        "target": "further targets" if record.others else target,
        "times": record.times,
        "score": f"{verdict.score:.0f}",
        "reason": clipped(verdict.reason, MOST_WORDS),
        "evidence": [_evidence(one) for one in verdict.evidence],
        "policy": verdict.policy,
        "first": clock_time(record.first_at, now),
        "last": clock_time(record.last_at, now),
    }


def hurt_rows(account: Account) -> HtmlRows:
    """Return the possible false positives, somebody known before others who share a prefix."""
    ordered = sorted(account.possible_false_positives, key=lambda one: not one.somebody)
    shown = [
        {"target": one.target, "reason": clipped(one.reason, MOST_WORDS), "somebody": one.somebody} for one in ordered
    ]
    return HtmlRows(shown[:MOST_ROWS], len(ordered))


def incident_rows(account: Account) -> HtmlRows:
    """Return the attacks, the latest first."""
    now = account.until
    bans = sorted((one.ban for one in account.bans), key=lambda ban: ban.created_at)
    shown = [
        {
            "kind": one.kind,
            "id": one.id,
            "targets": _targets_of(one, bans),
            "start": clock_time(one.started_at, now),
            "lasted": format_duration(((one.ended_at or now) - one.started_at).total_seconds()),
            "going": one.ended_at is None,
            "half_open": number_label(one.peak_half_open),
            "syns": number_label(round(one.peak_syn_pps)),
            "connections": number_label(one.peak_connections),
            "sources": f"{one.sources:,}",
            "bans": f"{one.bans:,}",
            "spared": f"{one.spared:,}",
            "note": clipped(one.note, MOST_WORDS),
        }
        for one in account.incidents[:MOST_ROWS]
    ]
    return HtmlRows(shown, len(account.incidents))


def _targets_of(incident: Incident, bans: Sequence[Ban]) -> list[str]:
    """Return the targets of the first of ``bans``, oldest first, that were made in an attack."""
    first = bisect_left(bans, incident.started_at, key=lambda ban: ban.created_at)
    those = takewhile(
        lambda ban: incident.ended_at is None or ban.created_at <= incident.ended_at, islice(bans, first, None)
    )
    return list(dict.fromkeys(format_network(ban.target) for ban in islice(those, MOST_LINKS)))


def action_rows(account: Account) -> HtmlRows:
    """Return what synguard or a person did, the latest first."""
    shown = [
        {"at": clock_time(one.at, account.until), "kind": one.kind, "text": clipped(one.text, MOST_WORDS)}
        for one in account.actions[:MOST_ROWS]
    ]
    return HtmlRows(shown, len(account.actions))


def history_rows(account: Account) -> list[dict[str, Any]]:
    """Return the figures behind the charts, one row a point."""
    return [_history_row(one, account.until) for one in account.timeline.stretches]


def _history_row(one: Stretch, now: datetime) -> dict[str, Any]:
    health = health_of(one)
    return {
        "at": clock_time(one.at, now),
        "watched": format_duration(one.watched_s),
        "cells": [_figure(one, figure) for figure in _COLUMNS],
        "full": format_duration(one.censored_s) if one.censored_s else "",
        "health": health.value,
        "style": STYLES[health],
    }


_COLUMNS: Final = (
    Figure.HALF_OPEN,
    Figure.SYNS,
    Figure.COMPLETED,
    Figure.COOKIES_SENT,
    Figure.DROPPED,
    Figure.CONNECTIONS,
)


def _figure(one: Stretch, figure: Figure) -> str:
    """Return ``mean, most`` of one figure, one number where both are the same, a dash where it is not known."""
    track = one.tracks.get(figure)
    if track is None:
        return "-"
    mean, most = number_label(round(track.mean, 1)), number_label(round(track.most, 1))
    higher = "≥" if figure is Figure.HALF_OPEN and one.censored_s else ""
    return f"{higher}{most}" if mean == most else f"{mean}, {higher}{most}"
