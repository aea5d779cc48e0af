"""Between the model's types and table rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, TypeAlias

from synguard.addresses import Network, compact_network, format_network, numbers_of
from synguard.ban_columns import FOREVER, PackedBan, Shape, width_of
from synguard.ledger.records import BanRecord, ListedBan, VerdictRecord, evidence_of
from synguard.model import Action, Ban, Cause, Evidence, Origin, Scope, Verdict, VerdictKind
from synguard.packed_bans import PackedBans
from synguard.syn_header import SynHeader

Row: TypeAlias = tuple[Any, ...]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

BAN_COLUMNS: Final = (
    "id, target, version, prefixlen, first_address, last_address, scope, action, origin, policy, reason, "
    "created_at, expires_at, ports, score, times, evidence, dry_run, forced, header, ended_at, ended_why"
)
BAN_PACKED: Final = (
    "id, version, prefixlen, first_address, expires_at, created_at, scope, action, ports, header, "
    "origin, policy, reason, score, times, evidence, dry_run, forced"
)
BAN_READ: Final = f"{BAN_PACKED}, ended_at, ended_why, packets, bytes, last_hit_at, answered, passed"
BAN_LISTED: Final = ", ".join(ListedBan._fields).replace("_us", "_at")
"""The columns of ``ListedBan``."""
STANDING: Final = "ended_at IS NULL AND (expires_at IS NULL OR expires_at > :now)"
"""Which rows of the ban table stand."""
ROWS_AT_ONCE: Final = 500
"""Rows asked for by number in one query."""
VERDICT_READ: Final = (
    "incident, kind, version, prefixlen, first_address, policy, others, "
    "first_at, last_at, times, peak, reason, evidence, cause"
)

_EVIDENCE: Final = [item.name for item in fields(Evidence)]
_SCOPES: Final = {one.value: one for one in Scope}
_ACTIONS: Final = {one.value: one for one in Action}
_ORIGINS: Final = {one.value: one for one in Origin}
_WORDS: Final[dict[Scope | Action | Origin, str]] = {one: one.value for kind in (Scope, Action, Origin) for one in kind}


def to_us(moment: datetime) -> int:
    """Return an aware time as UTC microseconds since 1970; a naive one is a programmer's mistake (TypeError)."""
    return (moment - _EPOCH) // _MICROSECOND


@lru_cache(maxsize=256)  # a hundred thousand bans of one list share two times
def from_us(value: int) -> datetime:
    """Return the aware UTC time of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=value)


def maybe_us(moment: datetime | None) -> int | None:
    """Return the same, and None for none."""
    return None if moment is None else to_us(moment)


def maybe_time(value: int | None) -> datetime | None:
    """Return the time of the same, and None for none."""
    return None if value is None else from_us(value)


def network_columns(network: Network) -> tuple[int, int, bytes, bytes]:
    """Return version, prefix length, first and last address as bytes that sort as addresses do."""
    version, start, prefixlen = numbers_of(network)
    first = start.to_bytes(4 if version == 4 else 16, "big")
    return version, prefixlen, first, last_address(first, prefixlen)


def last_address(first: bytes, prefixlen: int) -> bytes:
    """Return the last address of a prefix; ``broadcast_address`` costs five times as much."""
    rest = 8 * len(first) - prefixlen
    return (int.from_bytes(first, "big") | (1 << rest) - 1).to_bytes(len(first), "big") if rest else first


def network_of(version: int, prefixlen: int, first: bytes) -> Network:
    """Return the network that ``network_columns`` took apart."""
    return compact_network(version, int.from_bytes(first, "big"), prefixlen)


def ports_text(ports: Sequence[int]) -> str:
    """Return ports as one sorted word, so that equal sets are equal text; no ports is the empty word."""
    if not ports:
        return ""
    return ",".join(map(str, sorted(set(ports))))


@lru_cache(maxsize=256)
def _ports_of(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(","))) if text else ()


@lru_cache(maxsize=256)
def _text(text: str) -> str:
    """Return the same object for the same text: a hundred thousand bans of one list share one reason."""
    return text


def evidence_text(evidence: Sequence[Evidence]) -> str:
    """Return evidence as a JSON list of objects with the fields' own names."""
    if not evidence:
        return "[]"
    return json.dumps([{name: getattr(one, name) for name in _EVIDENCE} for one in evidence], separators=(",", ":"))


def ban_row(ban: Ban) -> Row:
    """Return ``BAN_COLUMNS`` of one ban but for the last two, which say that it has ended."""
    return (
        ban.id,
        format_network(ban.target),
        *network_columns(ban.target),
        _WORDS[ban.scope],
        _WORDS[ban.action],
        _WORDS[ban.origin],
        ban.policy,
        ban.reason,
        to_us(ban.created_at),
        maybe_us(ban.expires_at),
        ports_text(ban.ports),
        ban.score,
        ban.times,
        evidence_text(ban.evidence),
        int(ban.dry_run),
        int(ban.forced),
        "" if ban.header is None else str(ban.header),
    )


def ban_record(row: Row) -> BanRecord:
    """Return the record of one row of ``BAN_READ``."""
    ended_at, ended_why, packets, bytes_, last_hit_at, answered, passed = row[-7:]
    return BanRecord(
        ban_of(row), maybe_time(ended_at), ended_why, packets, bytes_, maybe_time(last_hit_at), answered, passed
    )


def ban_of(row: Row) -> Ban:
    """Return the ban of one row of ``BAN_READ``."""
    id_, version, prefixlen, first, expires, created = row[:6]
    scope, action, ports, header = _shape_of(row[6:10])
    origin, policy, reason, score, times, evidence, dry_run, forced = _words_of(row[10:18])
    return Ban(
        id_, network_of(version, prefixlen, first), scope, action, origin, _text(policy), _text(reason),
        from_us(created), maybe_time(expires), ports, score, times, evidence, dry_run, forced, header,
    )  # fmt: skip


def packed_bans(rows: Iterable[Row], now_us: int) -> PackedBans:
    """Return the bans of rows of ``BAN_PACKED`` that have not expired; what many have in common is taken apart once."""
    shapes: dict[Row, Shape] = {}
    words: dict[Row, Row] = {}
    made: list[PackedBan] = []
    for row in rows:
        ban_id, version, prefixlen, first, expires, created = row[:6]
        if expires is not None and expires <= now_us:
            continue
        shape, said = row[6:10], row[10:]
        if shape not in shapes:
            shapes[shape] = _shape_of(shape)
        if said not in words:
            words[said] = _words_of(said)
        start, width = int.from_bytes(first, "big"), width_of(version, prefixlen)
        ends = FOREVER if expires is None else expires
        made.append((ban_id, start, width, ends, created, shapes[shape], words[said]))
    return PackedBans.of_rows(made)


def _shape_of(columns: Row) -> Shape:
    scope, action, ports, header = columns
    return _SCOPES[scope], _ACTIONS[action], _ports_of(ports), SynHeader.parse(header) if header else None


def _words_of(columns: Row) -> Row:
    origin, policy, reason, score, times, evidence, dry_run, forced = columns
    return _ORIGINS[origin], policy, reason, score, times, evidence_of(evidence), bool(dry_run), bool(forced)


def verdict_record(row: Row) -> VerdictRecord:
    """Return the record of one row of ``VERDICT_READ``."""
    (incident, kind, version, prefixlen, first, policy, others, first_at, last_at, times, peak, reason, *rest) = row
    evidence, cause = rest
    verdict = Verdict(
        kind=VerdictKind(kind),
        target=None if version is None else network_of(version, prefixlen, first),
        score=peak,
        policy=policy,
        reason=reason,
        evidence=evidence_of(evidence),
        cause=Cause(cause),
    )
    return VerdictRecord(verdict, from_us(first_at), from_us(last_at), times, incident, bool(others))
