"""``synguard bans``: what is banned, until when, and what that stopped."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from synguard.cli import words
from synguard.cli.options import ConfigFile, Json, loaded
from synguard.errors import UsageError

if TYPE_CHECKING:
    from synguard.ledger import BanRecord, Ledger
    from synguard.policy.models import Config


_MOST: Final = 100_000
"""Ended bans read at once."""


class Sort(StrEnum):
    """What to sort by; times soonest first, numbers largest first."""

    EXPIRES = "expires"
    CREATED = "created"
    PACKETS = "packets"
    SCORE = "score"
    TARGET = "target"


def bans(
    expiring: Annotated[
        str | None, typer.Option("--expiring", metavar="TIME", help="Only those that end so soon.")
    ] = None,
    all_ended: Annotated[bool, typer.Option("--all-ended", help="Also bans that have ended, see --since.")] = False,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="With --all-ended: begun how long ago.")
    ] = "24h",
    sort: Annotated[Sort, typer.Option("--sort", help="Order of the rows.")] = Sort.EXPIRES,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="Rows a page; 0 for all.", min=0)] = 0,
    page: Annotated[int, typer.Option("--page", metavar="K", help="Which page of --limit rows.", min=1)] = 1,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """List the bans that stand, would-be bans of a dry run too.

    Examples:
      synguard bans
      synguard bans --expiring 10m
      synguard bans --all-ended --since 7d --sort packets --limit 20
      synguard bans --json | jq -r '.[].target'
    """
    soon_s = None if expiring is None else words.duration(expiring)
    since_s = words.duration(since)
    if page > 1 and not limit:
        raise UsageError("--page needs --limit: how many rows a page has")
    settings = loaded(config)
    from synguard.cli.here import opened_ledger, utcnow

    now = utcnow()
    with opened_ledger(settings) as ledger:
        records, absent = _records(ledger, settings, now, since_s if all_ended else None)
    if soon_s is not None:
        records = [record for record in records if _ends_by(record, now, now + timedelta(seconds=soon_s))]
    page_of = _page(_sorted(records, sort), limit, page)
    if json:
        _print_json(page_of, absent, now)
    else:
        _print_text(page_of, absent, len(records), now)


def _records(
    ledger: Ledger, config: Config, now: datetime, since_s: float | None
) -> tuple[list[BanRecord], frozenset[str] | None]:
    """Return standing bans, ended ones too where asked, with the kernel's counts where it may be read.

    The second value is the ids of standing bans that the kernel does not hold; None where that is not known.
    """
    records = {record.ban.id: record for record in ledger.standing(now)}
    absent: frozenset[str] | None = None
    real = {id_: record.ban.target for id_, record in records.items() if not record.ban.dry_run}
    if real:
        from synguard.cli.here import kernel_held

        held = kernel_held(config)
        if held is not None:
            targets = {one.target for one in held.values()}  # of two bans of one target the kernel holds the longer
            absent = frozenset(id_ for id_, target in real.items() if target not in targets)
            ledger.record_hits({id_: one.hits for id_, one in held.items()}, now)
            records = {record.ban.id: record for record in ledger.standing(now)}
    if since_s is not None:
        begun = ledger.bans_since(now - timedelta(seconds=since_s), limit=_MOST)
        records |= {record.ban.id: record for record in begun}
    return list(records.values()), absent


def _ends_by(record: BanRecord, now: datetime, latest: datetime) -> bool:
    expires_at = record.ban.expires_at
    return record.stands(now) and expires_at is not None and expires_at <= latest


def _sorted(records: list[BanRecord], sort: Sort) -> list[BanRecord]:
    def key(record: BanRecord) -> tuple[object, ...]:
        ban, network = record.ban, record.ban.target
        by = {
            Sort.EXPIRES: (ban.expires_at is None, ban.expires_at),
            Sort.CREATED: (ban.created_at,),
            Sort.PACKETS: (-record.packets,),
            Sort.SCORE: (-ban.score,),
            Sort.TARGET: (),
        }[sort]
        return (*by, network.version, network.network_address, network.prefixlen, ban.id)

    permanent = [record for record in records if record.ban.expires_at is None] if sort is Sort.EXPIRES else []
    ending = [record for record in records if record.ban.expires_at is not None or sort is not Sort.EXPIRES]
    return sorted(ending, key=key) + sorted(permanent, key=lambda record: record.ban.created_at)


def _page(records: list[BanRecord], limit: int, page: int) -> list[BanRecord]:
    return records[limit * (page - 1) : limit * page] if limit else records


def _print_json(records: list[BanRecord], absent: frozenset[str] | None, now: datetime) -> None:
    from synguard.report.shapes import record_shape
    from synguard.report.tables import print_json

    def in_kernel(record: BanRecord) -> bool | None:
        if record.ban.dry_run or not record.stands(now):
            return False
        return None if absent is None else record.ban.id not in absent

    print_json([record_shape(record, now) | {"in_kernel": in_kernel(record)} for record in records])


def _print_text(records: list[BanRecord], absent: frozenset[str] | None, of: int, now: datetime) -> None:
    from synguard.report.ban_table import print_bans

    if not records:
        print(f"no such page: there are {of} bans" if of else "no bans stand")
        return
    print_bans(records, now, absent or ())
    if len(records) < of:
        print(f"{len(records)} of {of} bans")
    if absent:
        print("bans that are not in the kernel stop nothing: start the agent, or see synguard doctor")
