"""The ban table: who is to be stopped, until when, and what became of it.

A row without ``ended_at`` is open. At most one row is open per target, scope, ports, header and dry-run,
which the database itself enforces. An open row whose expiry has passed has expired; it is marked only when something
takes its place, so that a clock which jumps ahead and back ends nothing for good.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from synguard.addresses import Network
from synguard.errors import LedgerError
from synguard.ledger.records import BanRecord, Counted, Offence
from synguard.ledger.rows import (
    BAN_COLUMNS,
    BAN_READ,
    ROWS_AT_ONCE,
    STANDING,
    Row,
    ban_of,
    ban_record,
    ban_row,
    from_us,
    network_columns,
    network_of,
    to_us,
)
from synguard.memory import in_parts
from synguard.model import FIREWALL_ACTIONS, Ban, Hits, Origin

Key: TypeAlias = tuple[str, str, str, int, str]
"""Target, scope, ports, dry-run and header, as they stand in the table."""

_TARGET, _SCOPE, _PORTS, _DRY_RUN, _HEADER = (
    BAN_COLUMNS.split(", ").index(name) for name in ("target", "scope", "ports", "dry_run", "header")
)
MOST_ENDED: Final = 10_000
"""Bans ended early that are returned, the latest."""
_MOST: Final = 2**63 - 1
"""The largest integer SQLite holds."""

_INSERT: Final = f"INSERT INTO ban ({BAN_COLUMNS}) VALUES ({', '.join('?' * len(BAN_COLUMNS.split(',')))})"  # noqa: S608  # constants only
_END: Final = """
    UPDATE ban SET ended_at = min(coalesce(expires_at, ?1), ?1),
                   ended_why = CASE WHEN expires_at <= ?1 THEN 'expired' ELSE ?2 END
    WHERE ended_at IS NULL AND """
_REPLACE: Final = _END + "target = ?3 AND scope = ?4 AND ports = ?5 AND dry_run = ?6 AND header = ?7"
_ORDERED: Final = """
    SELECT 1 FROM ban WHERE ended_at IS NULL AND target = ?1 AND scope = ?2 AND ports = ?3 AND dry_run = ?4
                        AND header = ?5 AND origin = 'manual' AND (expires_at IS NULL OR expires_at > ?6)"""
_READ_OPEN: Final = "SELECT target, scope, ports, dry_run, header FROM ban WHERE ended_at IS NULL"
_MANY: Final = 1_000
"""In batches larger than this it is cheaper to ask once which rows are open than to try each."""

_READ_COUNTED: Final = "SELECT id, kernel_packets FROM ban WHERE ended_at IS NULL"
_ADD_HITS: Final = """
    UPDATE ban SET
        packets = min(packets + :packets - CASE WHEN :packets >= kernel_packets THEN kernel_packets ELSE 0 END, :most),
        bytes = min(bytes + :bytes - CASE WHEN :packets >= kernel_packets THEN kernel_bytes ELSE 0 END, :most),
        last_hit_at = CASE WHEN :packets > kernel_packets OR (:packets < kernel_packets AND :packets > 0)
                           THEN :at ELSE last_hit_at END,
        answered = min(answered + :answered
                       - CASE WHEN :packets >= kernel_packets THEN kernel_answered ELSE 0 END, :most),
        passed = min(passed + :passed - CASE WHEN :passed >= kernel_passed THEN kernel_passed ELSE 0 END, :most),
        kernel_packets = :packets,
        kernel_bytes = :bytes,
        kernel_answered = :answered,
        kernel_passed = :passed
    WHERE id = :id AND (kernel_packets != :packets OR kernel_bytes != :bytes OR kernel_passed != :passed)"""


@dataclass(frozen=True, slots=True)
class Addition:
    """A batch of bans made ready before the lock is taken, so that others wait for the writing alone."""

    rows: tuple[tuple[Ban, Key, Row], ...]
    last: Mapping[Key, str]
    """Key → id of the last ban in the batch that has it; that one stands."""

    @classmethod
    def of(cls, bans: Sequence[Ban]) -> Addition:
        """Prepare bans, later ones replacing earlier ones of the same key."""
        made = ((ban, ban_row(ban)) for ban in bans)
        rows = tuple((ban, _key(row), row) for ban, row in made)
        return cls(rows, {key: ban.id for ban, key, _ in rows})


def _key(row: Row) -> Key:
    return row[_TARGET], row[_SCOPE], row[_PORTS], row[_DRY_RUN], row[_HEADER]


def add_bans(db: sqlite3.Connection, batch: Addition) -> None:
    """Insert bans, each in place of the standing one of the same target, scope, ports, header and dry-run.

    A person's standing order is not replaced by an automatic ban: that one is recorded as ended at once.
    """
    rows: list[Row] = []
    replacing: list[Row] = []
    is_open = set(db.execute(_READ_OPEN).fetchall()) if len(batch.rows) > _MANY else None
    for ban, key, row in batch.rows:
        created_at = to_us(ban.created_at)
        if batch.last[key] != ban.id:
            rows.append((*row, created_at, "replaced"))
        elif is_open is not None and key not in is_open:
            rows.append((*row, None, ""))
        elif ban.origin is Origin.AUTO and db.execute(_ORDERED, (*key, created_at)).fetchone():
            rows.append((*row, created_at, "a manual ban stands"))
        else:
            replacing.append((created_at, "replaced", *key))
            rows.append((*row, None, ""))
    db.executemany(_REPLACE, replacing)
    insert(db, rows)


def insert(db: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Insert rows of all ``BAN_COLUMNS``."""
    db.executemany(_INSERT, rows)


def replace_open(db: sqlite3.Connection, keys: Sequence[Key], at_us: int) -> None:
    """End the open bans whose place others take at that moment."""
    if len(keys) > _MANY:
        is_open = set(db.execute(_READ_OPEN).fetchall())
        keys = [key for key in keys if key in is_open] if is_open else ()
    db.executemany(_REPLACE, [(at_us, "replaced", *key) for key in keys])


def open_ids(db: sqlite3.Connection, ids: Sequence[str]) -> set[str]:
    """Return which of these bans have not been ended."""
    found: set[str] = set()
    for start in range(0, len(ids), ROWS_AT_ONCE):
        some = ids[start : start + ROWS_AT_ONCE]
        marks = ", ".join("?" * len(some))
        rows = db.execute(f"SELECT id FROM ban WHERE ended_at IS NULL AND id IN ({marks})", some)  # noqa: S608  # marks
        found.update(row[0] for row in rows)
    return found


def move_expiries(db: sqlite3.Connection, expiries: Mapping[str, datetime | None]) -> None:
    """Let bans of these ids end then; ids that are unknown or already ended are left as they are."""
    db.executemany(
        "UPDATE ban SET expires_at = ?2 WHERE id = ?1 AND ended_at IS NULL",
        [(id_, None if ends is None else to_us(ends)) for id_, ends in expiries.items()],
    )


def end_bans(db: sqlite3.Connection, ids: Iterable[str], at: datetime, why: str) -> None:
    """End active bans; ids that are unknown or already ended are left as they are."""
    for some in in_parts([*ids], ROWS_AT_ONCE):
        db.execute(f"{_END}id IN ({', '.join('?' * len(some))})", (to_us(at), why, *some))


def change_expiry(db: sqlite3.Connection, id_: str, expires_at: datetime | None, at: datetime) -> None:
    """Move the expiry of an active ban; None makes a manual one permanent.

    Raises:
        LedgerError: No ban of this id stands at ``at``, or an automatic one would never expire.
    """
    found = db.execute(
        f"SELECT origin FROM ban WHERE id = :id AND {STANDING}",  # noqa: S608  # constants only
        {"id": id_, "now": to_us(at)},
    ).fetchone()
    if found is None:
        raise LedgerError(f"no ban with id {id_} stands: it has ended or expired; see `synguard bans`")
    if expires_at is None and found[0] != Origin.MANUAL.value:
        raise LedgerError(f"ban {id_} is automatic and must expire: give it a time, or ban the target by hand")
    db.execute("UPDATE ban SET expires_at = ? WHERE id = ?", (None if expires_at is None else to_us(expires_at), id_))


def active_shapes(db: sqlite3.Connection, now: datetime) -> list[tuple[Ban, int]]:
    """Return one of the real bans of each shape that stand at ``now``, and how many are of it."""
    rows = db.execute(
        f"SELECT {BAN_READ}, count(*) FROM ban WHERE dry_run = 0 AND {STANDING} "  # noqa: S608  # constants only
        "GROUP BY version, prefixlen, scope, action, ports, header",
        {"now": to_us(now)},
    )
    return [(ban_of(row[:-1]), row[-1]) for row in rows]


def at_interface(db: sqlite3.Connection, now: datetime) -> list[str]:
    """Return the ids of the real bans that stand at ``now`` and are not the firewall's."""
    actions = ", ".join(f"'{action}'" for action in FIREWALL_ACTIONS)
    rows = db.execute(
        f"SELECT id FROM ban WHERE dry_run = 0 AND {STANDING} AND (action NOT IN ({actions}) OR header != '')",  # noqa: S608  # constants only
        {"now": to_us(now)},
    )
    return [row[0] for row in rows]


def active_records(db: sqlite3.Connection, now: datetime) -> list[BanRecord]:
    """Return the records of all bans that stand at ``now``, the dry-run ones too, oldest first."""
    rows = db.execute(
        f"SELECT {BAN_READ} FROM ban WHERE dry_run IN (0, 1) AND {STANDING} ORDER BY seq",  # noqa: S608  # constants only
        {"now": to_us(now)},
    )
    return [ban_record(row) for row in rows]


def counted(db: sqlite3.Connection, now: datetime) -> dict[str, Counted]:
    """Return id → what is known of the packets of each real ban that stands at ``now``; takes no ban apart."""
    rows = db.execute(
        f"SELECT id, packets, kernel_packets, last_hit_at FROM ban WHERE dry_run = 0 AND {STANDING}",  # noqa: S608  # constants only
        {"now": to_us(now)},
    )
    return {
        id_: Counted(packets, kernel_packets, None if last is None else from_us(last))
        for id_, packets, kernel_packets, last in rows
    }


def bans_since(db: sqlite3.Connection, since: datetime, limit: int, offset: int, until: datetime) -> list[BanRecord]:
    """Return bans that began at ``since`` or later and before ``until``, newest first."""
    rows = db.execute(
        f"SELECT {BAN_READ} FROM ban WHERE created_at >= ? AND created_at < ? "  # noqa: S608  # constants only
        "ORDER BY created_at DESC, seq DESC LIMIT ? OFFSET ?",
        (to_us(since), to_us(until), limit, offset),
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


def ended_early(
    db: sqlite3.Connection, origin: Origin, since: datetime, now: datetime, but: str = ""
) -> list[BanRecord]:
    """Return bans of one origin that were ended at ``since`` or later and would stand at ``now``, latest first.

    Whoever followed them elsewhere must know of it. Bans that another one replaced, and those that were ended for the
    reason ``but``, are not among them; nor are more than ``MOST_ENDED``.
    """
    rows = db.execute(
        f"SELECT {BAN_READ} FROM ban WHERE ended_at >= ? AND expires_at > ? AND origin = ? "  # noqa: S608  # constants only
        "AND ended_why NOT IN ('replaced', 'expired', ?) AND ended_at > created_at ORDER BY ended_at DESC LIMIT ?",
        (to_us(since), to_us(now), origin.value, but, MOST_ENDED),
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
    if len(hits) > _MANY:  # a first look at very many bans, most of which have stopped no one: writing would say so
        known = dict(db.execute(_READ_COUNTED).fetchall())
        hits = {id_: one for id_, one in hits.items() if known.get(id_) != one.packets}
    db.executemany(
        _ADD_HITS,
        (
            {
                "id": id_,
                "packets": min(one.packets, _MOST),
                "bytes": min(one.bytes, _MOST),
                "answered": min(one.answered, _MOST),
                "passed": min(one.passed, _MOST),
                "at": to_us(at),
                "most": _MOST,
            }
            for id_, one in hits.items()
        ),
    )
