"""``synguard report``: what was banned or would have been, why, who was spared."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synguard.cli import words
from synguard.cli.options import ConfigFile, Json, loaded
from synguard.errors import SensorError, SynguardError, UsageError

if TYPE_CHECKING:
    from synguard.ledger import BanRecord
    from synguard.policy.models import Config
    from synguard.report.account import Account


class Format(StrEnum):
    """How a report is written."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


def report(
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="How far back.")] = "24h",
    form: Annotated[Format, typer.Option("--format", help="How it is written.")] = Format.TEXT,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it here, not to the terminal.")
    ] = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Tell what was banned, or would have been in a dry run, why, and who was spared.

    Examples:
      synguard report
      synguard report --since 7d -o report.txt
      synguard report --json | jq '.bans[] | {target, reason}'
    """
    since_s = words.duration(since)
    if form is Format.HTML:
        raise UsageError("reports in html do not exist yet: say --format text or --format json")
    account = account_of(loaded(config), since_s)
    text = _text(account, json or form is Format.JSON)
    if output is None:
        print(text, end="")
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SynguardError(f"{output} cannot be written: {error.strerror or error}") from error


def account_of(config: Config, since_s: float) -> Account:
    """Gather the report from the ledger and from who is connected now."""
    from synguard.cli.here import opened_ledger, protected_here, utcnow
    from synguard.model import VerdictKind
    from synguard.report.account import MOST_BANS, Account, of_kind, who_could_be_hurt
    from synguard.report.presence import agent_runs
    from synguard.report.status import read_status

    now = utcnow()
    begin = now - timedelta(seconds=since_s)
    with opened_ledger(config) as ledger:
        bans = {record.ban.id: record for record in ledger.bans_since(begin, limit=MOST_BANS)}
        bans |= {record.ban.id: record for record in ledger.standing(now) if record.ban.id not in bans}
        verdicts = ledger.verdicts_since(begin)
        incidents = tuple(ledger.incidents_since(begin))
        actions = tuple(ledger.actions_since(begin))
    running = bool(agent_runs(config.runtime_dir))
    status = read_status(config.runtime_dir) if running else None
    return Account(
        since=begin,
        until=now,
        mode=status.mode if status else config.mode,
        running=running,
        bans=tuple(bans.values()),
        spared=of_kind(verdicts, VerdictKind.SPARE),
        spoofed=of_kind(verdicts, VerdictKind.SPOOFED),
        watched=len(of_kind(verdicts, VerdictKind.WATCH)),
        incidents=incidents,
        could_be_hurt=who_could_be_hurt(
            bans.values(), connected_peers(bans.values(), now), protected_here(config), now
        ),
        actions=actions,
    )


def connected_peers(bans: Iterable[BanRecord], now: datetime, at_most: int = 1000) -> dict[str, int]:
    """Return target → addresses in it with a completed connection now, for the latest standing bans."""
    from synguard.addresses import format_network
    from synguard.readings import CONNECTED
    from synguard.report.peers import peers_by_target
    from synguard.sensors.sockets import Sockets

    standing = [record.ban.target for record in bans if record.stands(now)][:at_most]
    if not standing:
        return {}
    sensor = Sockets()
    try:
        table = sensor.tcp(CONNECTED)
    except SensorError:  # the report stands without it
        return {}
    finally:
        sensor.close()
    return {format_network(target): count for target, count in peers_by_target(table, standing).items()}


def _text(account: Account, json: bool) -> str:
    if json:
        from json import dumps

        from synguard.report.account import account_shape

        return dumps(account_shape(account), indent=2) + "\n"
    from synguard.report.account_text import account_text

    return account_text(account)
