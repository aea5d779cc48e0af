"""``synguard bans``: what is banned, until when, and what that stopped."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from synguard.cli import words
from synguard.cli.options import ConfigFile, Json, loaded
from synguard.errors import UsageError

if TYPE_CHECKING:
    from synguard.ledger import BanRecord, Ledger
    from synguard.policy.models import Config


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
        records = _records(ledger, settings, now, since_s if all_ended else None)
    if soon_s is not None:
        records = [record for record in records if _ends_by(record, now, now + timedelta(seconds=soon_s))]
    _show(_page(_sorted(records, sort), limit, page), len(records), now, json)


def _records(ledger: Ledger, config: Config, now: datetime, since_s: float | None) -> list[BanRecord]:
    """Return standing bans, and ended ones where asked, with the kernel's counts where it may be read."""
    records = {record.ban.id: record for record in ledger.standing(now)}
    if since_s is not None:
        begun = ledger.bans_since(now - timedelta(seconds=since_s), limit=100_000)
        records |= {record.ban.id: record for record in begun}
    if any(record.stands(now) and not record.ban.dry_run for record in records.values()):
        from synguard.cli.here import kernel_hits

        hits = kernel_hits(config)
        if hits:
            ledger.record_hits(hits, now)
            records |= {one.ban.id: one for one in ledger.standing(now)}
    return list(records.values())


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


def _show(records: list[BanRecord], of: int, now: datetime, json: bool) -> None:
    from synguard.report.tables import print_json

    if json:
        from synguard.report.shapes import record_shape

        print_json([record_shape(record, now) for record in records])
        return
    if not records:
        print("no bans stand" if not of else f"no such page: there are {of} bans")
        return
    from synguard.report.ban_table import print_bans

    print_bans(records, now)
    if len(records) < of:
        print(f"{len(records)} of {of} bans")
