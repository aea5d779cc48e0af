"""``synguard bans``: what is banned, until when, and what that stopped."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from synguard.addresses import format_network
from synguard.ban_order import BanOrder
from synguard.cli import parameter_types
from synguard.cli.options import ConfigFile, Json, loaded
from synguard.errors import LedgerError, UsageError
from synguard.memory import many_objects
from synguard.model import Origin, Scope
from synguard.plain import count

if TYPE_CHECKING:
    from synguard.enforcer.plane import Stopped
    from synguard.ledger import BanRecord, LedgerReader
    from synguard.ledger.listing import Choice
    from synguard.ledger.records import ListedBan
    from synguard.policy.models import Config


A_PAGE: Final = 50
"""Rows at a terminal, where nothing is said of --limit."""
PART: Final = 20
"""What stands must be so many times a page that the kernel is asked for the page alone."""


def bans(
    expiring: Annotated[
        str | None, typer.Option("--expiring", metavar="TIME", help="Only bans that expire within TIME.")
    ] = None,
    all_ended: Annotated[
        bool, typer.Option("--all-ended", help="Also bans that have ended, of the last 24h; see --since.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="WHEN", help="Bans made since, ended ones too: 24h, 7d or yesterday.  [default: 24h]"
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="TARGET", help="Only bans that share an address with TARGET.")
    ] = None,
    origin: Annotated[
        Origin | None, typer.Option("--origin", help="Only bans of this origin; manual: made by hand.")
    ] = None,
    scope: Annotated[Scope | None, typer.Option("--scope", help="Only bans of this scope.")] = None,
    sort: Annotated[
        BanOrder, typer.Option("--sort", help="Order of the rows; left is the same as expires.")
    ] = BanOrder.EXPIRES,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", metavar="N", help="Rows on a page; 0 for all. Default 50 at a terminal, else all.", min=0
        ),
    ] = None,
    page: Annotated[
        int, typer.Option("--page", metavar="K", help="Number of the page, of --limit rows each.", min=1)
    ] = 1,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """List the active bans, and in dry-run the dry-run bans.

    Examples:
      synguard bans
      synguard bans --expiring 10m
      synguard bans --since 7d --sort packets --limit 20
      synguard bans --target 203.0.113.0/24 --origin auto
      synguard bans --limit 50 --page 2
      synguard bans --json | jq -r '.[].target'
    """
    soon_s = None if expiring is None else parameter_types.duration(expiring)
    rows = limit if limit is not None else A_PAGE if sys.stdout.isatty() else 0
    if page > 1 and not rows:
        raise UsageError("--page needs --limit: how many rows a page has")
    near = None if target is None else parameter_types.network(target)
    settings = loaded(config)
    from synguard.cli.context import ledger_for_reading, utcnow
    from synguard.ledger.listing import Choice

    now = utcnow()
    choice = Choice(
        begun_since=parameter_types.past(since or "24h", now) if all_ended or since else None,
        ending_by=None if soon_s is None else now + timedelta(seconds=soon_s),
        near=near,
        origin=origin,
        scope=scope,
    )
    with many_objects(), ledger_for_reading(settings) as ledger:
        if json and not rows and not sys.stdout.isatty():
            stopped = _stopped(ledger, settings, now)
            _print_all(ledger.list_rows(choice, sort, now), None if stopped is None else stopped.targets, now)
            return
        of = ledger.count_bans(choice, now)
        page_of = [*_page(ledger, choice, sort, now, rows, page)] if rows and sort is not BanOrder.PACKETS else []
        stopped = _stopped(ledger, settings, now, page_of)
        held = None if stopped is None else stopped.targets
        if not page_of or (stopped and stopped.hits):
            page_of = [*_page(ledger, choice, sort, now, rows, page)]  # with the counts that were just kept
        if json:
            _print_json(page_of, held, now)
        else:
            standing = of or ledger.count_bans(Choice(), now)
            _print_text(page_of, held, of, now, rows, page, standing)
            if stopped and stopped.missing:
                gone = ", ".join(stopped.missing[:3])
                print(f"rules are missing or changed, without which no ban stops a packet: {gone}")


def _page(
    ledger: LedgerReader, choice: Choice, sort: BanOrder, now: datetime, rows: int, page: int
) -> Iterable[BanRecord]:
    return ledger.list_bans(choice, sort, now, rows or None, rows * (page - 1))


def _stopped(ledger: LedgerReader, config: Config, now: datetime, page: Sequence[BanRecord] = ()) -> Stopped | None:
    """Return what the kernel stops, having kept its counts where the ledger is ours; None where it may not be read.

    Where no real ban stands it is not asked. Where a page is a small part of what stands and an agent keeps the
    counts, it is asked for the bans of that page alone.
    """
    from synguard.cli.context import kernel_stopped
    from synguard.enforcer.plane import Stopped
    from synguard.ledger import Ledger
    from synguard.ledger.listing import Choice
    from synguard.status.freshness import agent_runs

    active = ledger.count_bans(Choice(dry_run=False), now)
    if not active:
        return Stopped()
    alone = 0 < len(page) * PART < active and agent_runs(config.runtime_dir)
    stopped = kernel_stopped(config, [one.ban for one in page if not one.ban.dry_run] if alone else None)
    if stopped and stopped.hits and isinstance(ledger, Ledger):
        with suppress(LedgerError):  # a full disk hides no ban
            ledger.record_hits(stopped.hits, now)
    return stopped


def _in_kernel(record: BanRecord, held: Container[str] | None, now: datetime) -> bool | None:
    if record.ban.dry_run or not record.stands(now):
        return False
    return None if held is None else format_network(record.ban.target) in held


def _print_json(records: Iterable[BanRecord], held: Container[str] | None, now: datetime) -> None:
    from synguard.output.tables import print_json
    from synguard.report.shapes import record_shape

    print_json([record_shape(one, now) | {"in_kernel": _in_kernel(one, held, now)} for one in records])


def _print_all(bans: Iterable[ListedBan], held: Container[str] | None, now: datetime) -> None:
    from synguard.output.tables import print_json_list
    from synguard.report.ban_json import ban_objects

    print_json_list(ban_objects(bans, now, held))


def _nothing(of: int, standing: int) -> str:
    if of:
        return f"no such page of {count(of, 'ban')}"
    if standing:
        return f"no active ban matches; to see all {standing:,}: synguard bans"
    return "no active bans"


def _print_text(
    records: list[BanRecord],
    held: Container[str] | None,
    of: int,
    now: datetime,
    rows: int,
    page: int,
    standing: int,
) -> None:
    from synguard.report.ban_table import print_bans

    if not records:
        print(_nothing(of, standing))
        return
    absent = {
        record.ban.id
        for record in records
        if record.stands(now) and not record.ban.dry_run and _in_kernel(record, held, now) is False
    }
    print_bans(records, now, absent)
    if len(records) < of:
        more = f"; the next with --page {page + 1}" if rows * page < of else ""
        print(f"{len(records):,} of {count(of, 'ban')}{more}, all with --limit 0")
    if absent:
        print("bans that are not in the kernel stop nothing: ban them again, or see synguard doctor")
