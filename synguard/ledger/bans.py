"""The ban table: who is to be stopped, until when, and what became of it.

A row without ``ended_at`` is open. At most one row is open per target, scope, ports and dry-run, which the
database itself enforces. An open row whose expiry has passed has lapsed; it is marked only when something
takes its place, so that a clock which jumps ahead and back ends nothing for good.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from synguard.addresses import Network
from synguard.errors import LedgerError
from synguard.ledger.records import BanRecord, Offence
from synguard.ledger.rows import (
    BAN_COLUMNS,
    BAN_READ,
    ban_record,
    ban_row,
    from_us,
    network_columns,
    network_of,
    ports_text,
    to_us,
)
from synguard.model import Ban, Hits, Origin

_MOST: Final = 2**63 - 1
"""The largest integer SQLite holds."""

_INSERT: Final = f"INSERT INTO ban ({BAN_COLUMNS}) VALUES ({', '.join('?' * len(BAN_COLUMNS.split(',')))})"  # noqa: S608  # constants only
_END: Final = """
    UPDATE ban SET
        ended_at = min(coalesce(expires_at, :at), :at),
        ended_why = CASE WHEN expires_at <= :at THEN 'expired' ELSE :why END
    WHERE ended_at IS NULL AND """
_SAME: Final = "target = :target AND scope = :scope AND ports = :ports AND dry_run = :dry_run"
_STANDING: Final = "ended_at IS NULL AND (expires_at IS NULL OR expires_at > :now)"

_ADD_HITS: Final = """
    UPDATE ban SET
        packets = min(packets + :packets - CASE WHEN :packets >= kernel_packets THEN kernel_packets ELSE 0 END, :most),
        bytes = min(bytes + :bytes - CASE WHEN :packets >= kernel_packets THEN kernel_bytes ELSE 0 END, :most),
        last_hit_at = CASE WHEN :packets > kernel_packets OR (:packets < kernel_packets AND :packets > 0)
                           THEN :at ELSE last_hit_at END,
        kernel_packets = :packets,
        kernel_bytes = :bytes
    WHERE id = :id AND (kernel_packets != :packets OR kernel_bytes != :bytes)"""


def add_bans(db: sqlite3.Connection, bans: Sequence[Ban]) -> None:
    """Insert bans, each in place of the standing one of the same target, scope, ports and dry-run.

    A person's standing order is not replaced by an automatic ban: that one is recorded as ended at once.
    """
    keys = [_key(ban) for ban in bans]
    last = {tuple(key.values()): ban.id for key, ban in zip(keys, bans, strict=True)}
    rows, replacing = [], []
    for key, ban in zip(keys, bans, strict=True):
        if last[tuple(key.values())] != ban.id:
            rows.append(ban_row(ban, ban.created_at, "replaced"))
        elif ban.origin is Origin.AUTO and _ordered_by_a_person(db, key, ban.created_at):
            rows.append(ban_row(ban, ban.created_at, "a manual ban stands"))
        else:
            replacing.append({**key, "at": to_us(ban.created_at), "why": "replaced"})
            rows.append(ban_row(ban, None, ""))
    db.executemany(_END + _SAME, replacing)
    db.executemany(_INSERT, rows)


def _key(ban: Ban) -> dict[str, object]:
    target = str(ban.target.network_address) if ban.target.num_addresses == 1 else str(ban.target)
    return {
        "target": target,
        "scope": ban.scope.value,
        "ports": ports_text(ban.ports),
        "dry_run": int(ban.dry_run),
    }


def _ordered_by_a_person(db: sqlite3.Connection, key: Mapping[str, object], now: datetime) -> bool:
    found = db.execute(
        f"SELECT 1 FROM ban WHERE {_SAME} AND {_STANDING} AND origin = 'manual'",  # noqa: S608  # constants only
        {**key, "now": to_us(now)},
    )
    return found.fetchone() is not None


def end_bans(db: sqlite3.Connection, ids: Iterable[str], at: datetime, why: str) -> None:
    """End standing bans; ids that are unknown or already ended are left as they are."""
    db.executemany(_END + "id = :id", ({"id": id_, "at": to_us(at), "why": why} for id_ in ids))


def change_expiry(db: sqlite3.Connection, id_: str, expires_at: datetime | None, at: datetime) -> None:
    """Move the expiry of a standing ban; None makes a manual one permanent.

    Raises:
        LedgerError: No ban of this id stands at ``at``, or an automatic one would never expire.
    """
    found = db.execute(
        f"SELECT origin FROM ban WHERE id = :id AND {_STANDING}",  # noqa: S608  # constants only
        {"id": id_, "now": to_us(at)},
    ).fetchone()
    if found is None:
        raise LedgerError(f"no ban with id {id_} stands: it has ended or expired; see `synguard bans`")
    if expires_at is None and found[0] != Origin.MANUAL.value:
        raise LedgerError(f"ban {id_} is automatic and must expire: give it a time, or ban the target by hand")
    db.execute("UPDATE ban SET expires_at = ? WHERE id = ?", (None if expires_at is None else to_us(expires_at), id_))


def active_bans(db: sqlite3.Connection, now: datetime, dry_run: bool) -> dict[str, Ban]:
    """Return id → ban of those that stand at ``now``, oldest first."""
    rows = db.execute(
        f"SELECT {BAN_READ} FROM ban WHERE dry_run = :dry_run AND {_STANDING} ORDER BY seq",  # noqa: S608  # constants only
        {"dry_run": int(dry_run), "now": to_us(now)},
    )
    return {row[0]: ban_record(row).ban for row in rows}


def standing(db: sqlite3.Connection, now: datetime) -> list[BanRecord]:
    """Return the records of all bans that stand at ``now``, the would-be ones too, oldest first."""
    rows = db.execute(
        f"SELECT {BAN_READ} FROM ban WHERE dry_run IN (0, 1) AND {_STANDING} ORDER BY seq",  # noqa: S608  # constants only
        {"now": to_us(now)},
    )
    return [ban_record(row) for row in rows]


def bans_since(db: sqlite3.Connection, since: datetime, limit: int, offset: int) -> list[BanRecord]:
    """Return bans that began at ``since`` or later, newest first."""
    rows = db.execute(
        f"SELECT {BAN_READ} FROM ban WHERE created_at >= ? ORDER BY created_at DESC, seq DESC LIMIT ? OFFSET ?",  # noqa: S608  # constants only
        (to_us(since), limit, offset),
    )
    return [ban_record(row) for row in rows]


def bans_of(db: sqlite3.Connection, network: Network, limit: int) -> list[BanRecord]:
    """Return bans whose target shares an address with ``network``, newest first."""
    version, _, first, last = network_columns(network)
    rows = db.execute(
        f"SELECT {BAN_READ} FROM ban WHERE version = ? AND first_address <= ? AND last_address >= ? "  # noqa: S608  # constants only
        "ORDER BY created_at DESC, seq DESC LIMIT ?",
        (version, last, first, limit),
    )
    return [ban_record(row) for row in rows]


def offences(db: sqlite3.Connection, since: datetime, dry_run: bool) -> dict[Network, Offence]:
    """Return target → how often it was banned automatically since; those that never came to stand are not counted."""
    rows = db.execute(
        "SELECT version, prefixlen, first_address, count(*), max(created_at) FROM ban "
        "WHERE origin = 'auto' AND dry_run = ? AND created_at >= ? AND (ended_at IS NULL OR ended_at > created_at) "
        "GROUP BY version, first_address, prefixlen",
        (int(dry_run), to_us(since)),
    )
    return {network_of(*row[:3]): Offence(row[3], from_us(row[4])) for row in rows}


def record_hits(db: sqlite3.Connection, hits: Mapping[str, Hits], at: datetime) -> None:
    """Add what the kernel counted since the last call; a count that fell back began again at 0."""
    db.executemany(
        _ADD_HITS,
        (
            {
                "id": id_,
                "packets": min(one.packets, _MOST),
                "bytes": min(one.bytes, _MOST),
                "at": to_us(at),
                "most": _MOST,
            }
            for id_, one in hits.items()
        ),
    )
