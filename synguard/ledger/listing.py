"""Bans page by page, in an order and by a choice that the database itself makes: of 100,000 a page costs a page."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from synguard.addresses import Network
from synguard.ban_order import BanOrder
from synguard.ledger.records import BanRecord, ListedBan
from synguard.ledger.rows import BAN_LISTED, BAN_READ, Row, ban_record, network_columns, to_us
from synguard.model import Origin, Scope

_CHUNK: Final = 1_000
"""Rows fetched at once."""


_ENDS: Final = "expires_at IS NULL, expires_at, CASE WHEN expires_at IS NULL THEN created_at END, "
_ORDERS: Final = {
    BanOrder.EXPIRES: _ENDS,
    BanOrder.LEFT: _ENDS,
    BanOrder.CREATED: "created_at, ",
    BanOrder.PACKETS: "packets DESC, ",
    BanOrder.SCORE: "score DESC, ",
    BanOrder.TARGET: "",
}
_TIES: Final = "version, first_address, prefixlen, id"
_STANDS: Final = "(ended_at IS NULL AND (expires_at IS NULL OR expires_at > :now))"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which bans: those that stand, as far as nothing more is said."""

    begun_since: datetime | None = None
    """Also those that began then or later, whatever became of them."""
    ending_by: datetime | None = None
    """Only those that stand and end by then."""
    near: Network | None = None
    """Only those whose target shares an address with this network."""
    origin: Origin | None = None
    dry_run: bool | None = None
    """Only dry-run bans, or only real ones."""
    scope: Scope | None = None


def count(db: sqlite3.Connection, choice: Choice, now: datetime) -> int:
    """Return how many bans there are, dry-run ones too."""
    where, values = _where(choice, now)
    return int(db.execute(f"SELECT count(*) FROM ban WHERE {where}", values).fetchone()[0])  # noqa: S608  # constants only


def rows(
    db: sqlite3.Connection, choice: Choice, order: BanOrder, now: datetime, limit: int | None, offset: int
) -> Iterator[BanRecord]:
    """Yield the records of one page in order; without a limit of all."""
    return map(ban_record, _rows(db, BAN_READ, choice, order, now, limit, offset))


def listed(db: sqlite3.Connection, choice: Choice, order: BanOrder, now: datetime) -> Iterator[ListedBan]:
    """Yield all of them as they stand in the table."""
    return map(ListedBan._make, _rows(db, BAN_LISTED, choice, order, now, None, 0))


def _rows(
    db: sqlite3.Connection,
    columns: str,
    choice: Choice,
    order: BanOrder,
    now: datetime,
    limit: int | None,
    offset: int,
) -> Iterator[Row]:
    where, values = _where(choice, now)
    cursor = db.execute(
        f"SELECT {columns} FROM ban WHERE {where} ORDER BY {_ORDERS[order]}{_TIES} LIMIT :limit OFFSET :offset",  # noqa: S608  # constants only
        {**values, "limit": -1 if limit is None else limit, "offset": offset},
    )
    while some := cursor.fetchmany(_CHUNK):
        yield from some


def _where(choice: Choice, now: datetime) -> tuple[str, dict[str, Any]]:
    values: dict[str, Any] = {"now": to_us(now)}
    parts = [_STANDS]
    if choice.begun_since is not None:
        parts = [f"({_STANDS} OR created_at >= :since)"]
        values["since"] = to_us(choice.begun_since)
    if choice.ending_by is not None:
        parts += [_STANDS, "expires_at <= :by"]
        values["by"] = to_us(choice.ending_by)
    if choice.near is not None:
        version, _, first, last = network_columns(choice.near)
        parts.append("version = :version AND first_address <= :last AND last_address >= :first")
        values |= {"version": version, "first": first, "last": last}
    if choice.origin is not None:
        parts.append("origin = :origin")
        values["origin"] = choice.origin.value
    if choice.dry_run is not None:
        parts.append("dry_run = :dry_run")
        values["dry_run"] = int(choice.dry_run)
    if choice.scope is not None:
        parts.append("scope = :scope")
        values["scope"] = choice.scope.value
    return " AND ".join(parts), values
