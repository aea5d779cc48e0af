"""``synguard bans``: what is banned, until when, and what that stopped."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from synguard.addresses import Network
from synguard.cli import parameter_types
from synguard.cli.options import ConfigFile, Json, loaded
from synguard.errors import UsageError
from synguard.memory import many_objects
from synguard.model import BanOrder, Origin, Scope

if TYPE_CHECKING:
    from synguard.ledger import BanRecord, Ledger
    from synguard.policy.models import Config


A_PAGE: Final = 50
"""Rows at a terminal, where nothing is said of --limit."""


def bans(
    expiring: Annotated[
        str | None, typer.Option("--expiring", metavar="TIME", help="Only bans that expire within TIME.")
    ] = None,
    all_ended: Annotated[bool, typer.Option("--all-ended", help="Also bans that have ended; see --since.")] = False,
    since: Annotated[
        str,
        typer.Option("--since", metavar="WHEN", help="With --all-ended: bans made since WHEN: 24h, 7d or yesterday."),
    ] = "24h",
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
    """List the active bans, and the would-be bans of a dry run.

    Examples:
      synguard bans
      synguard bans --expiring 10m
      synguard bans --all-ended --since 7d --sort packets --limit 20
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
    from synguard.cli.context import opened_ledger, utcnow
    from synguard.ledger.listing import Choice

    now = utcnow()
    choice = Choice(
        begun_since=parameter_types.past(since, now) if all_ended else None,
        ending_by=None if soon_s is None else now + timedelta(seconds=soon_s),
        near=near,
        origin=origin,
        scope=scope,
    )
    with many_objects(), opened_ledger(settings) as ledger:
        held, missing = _held(ledger, settings, now)
        of = ledger.count_bans(choice, now)
        page_of = ledger.list_bans(choice, sort, now, rows or None, rows * (page - 1))
        if json:
            _print_json(page_of, held, now)
        else:
            standing = of or ledger.count_bans(Choice(), now)
            _print_text(list(page_of), held, of, now, rows, page, standing)
            if missing:
                print(f"rules are missing or changed, without which no ban stops a packet: {missing}")


def _held(ledger: Ledger, config: Config, now: datetime) -> tuple[frozenset[Network] | None, str]:
    """Return the targets that the kernel stops, having kept its counts, and which of our rules are missing.

    The targets are None where the kernel may not be read. Where no real ban stands it is not asked. Of two bans of one
    target it holds the longer.
    """
    from synguard.cli.context import kernel_now
    from synguard.ledger.listing import Choice

    if not ledger.count_bans(Choice(), now):
        return frozenset(), ""

    actual = kernel_now(config)
    if actual is None:
        return None, ""
    counted = {id_: one.hits for id_, one in actual.bans.items() if one.hits.packets or one.hits.passed}
    if counted:
        ledger.record_hits(counted, now)
    return actual.stopped, ", ".join(actual.missing[:3])


def _in_kernel(record: BanRecord, held: frozenset[Network] | None, now: datetime) -> bool | None:
    if record.ban.dry_run or not record.stands(now):
        return False
    return None if held is None else record.ban.target in held


def _print_json(records: Iterable[BanRecord], held: frozenset[Network] | None, now: datetime) -> None:
    from synguard.output.tables import print_json_list
    from synguard.report.shapes import record_shape

    print_json_list(record_shape(record, now) | {"in_kernel": _in_kernel(record, held, now)} for record in records)


def _nothing(of: int, standing: int) -> str:
    if of:
        return f"no such page: there are {of:,} bans"
    if standing:
        return f"no active ban matches; all {standing:,} active bans: synguard bans"
    return "no active bans"


def _print_text(
    records: list[BanRecord],
    held: frozenset[Network] | None,
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
        print(f"{len(records):,} of {of:,} bans{more}, all with --limit 0")
    if absent:
        print("bans that are not in the kernel stop nothing: ban them again, or see synguard doctor")
