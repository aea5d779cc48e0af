"""``synguard report``: what was banned or would have been, why, who was spared."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from enum import StrEnum
from json import dumps
from pathlib import Path
from platform import node
from typing import Annotated, Final

import typer

from synguard.addresses import format_network
from synguard.cli import parameter_types
from synguard.cli.context import ledger_for_reading, protected_here, utcnow
from synguard.cli.options import ConfigFile, Json, loaded
from synguard.cli.report_file import write_report
from synguard.doctor.findings import Finding, is_exposed
from synguard.doctor.host_checks import SYSCTLS, listener_findings, read_listeners
from synguard.doctor.queue_checks import queue_findings
from synguard.errors import SensorError, UsageError
from synguard.ledger import BanRecord
from synguard.model import VerdictKind
from synguard.operator.impact import Targets
from synguard.policy.models import Config
from synguard.report.account import MOST_BANS, MOST_VERDICTS, Account, cut_words, of_kind, possible_false_positives_in
from synguard.report.account_json import account_shape
from synguard.report.account_text import account_text
from synguard.report.html import page
from synguard.report.timeline import Timeline, grain_for
from synguard.sensors.sockets import SocketTables
from synguard.socket_table import CONNECTED
from synguard.status.freshness import agent_runs, seems_to_run
from synguard.status.model import read_status


class Format(StrEnum):
    """How a report is written."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


def report(
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="WHEN", help="Report since WHEN: 24h, 7d, yesterday, 2026-12-01.  [default: 24h]"
        ),
    ] = None,
    between: Annotated[
        tuple[str, str] | None,
        typer.Option("--between", metavar="FROM TO", help="Report from FROM to TO, each written like --since."),
    ] = None,
    form: Annotated[
        Format | None, typer.Option("--format", help="Format; by default from the name of FILE, else text.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write to FILE; - for stdout."),
    ] = None,
    send: Annotated[
        bool, typer.Option("--send", help="Send the report to the services of [notify]; as a page by mail.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is no report.")] = False,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Report what was banned or would have been, why, and who was spared.

    Examples:
      synguard report
      synguard report --since 7d -o report.html
      synguard report --between yesterday today --send
      synguard report --between "2026-11-28 14:00" "2026-11-28 15:30"
      synguard report --json | jq '.bans[] | {target, reason}'

    The HTML report is one file that loads nothing from elsewhere: open it,
    print it, send it. An older report of the same name is overwritten.
    """
    now = utcnow()
    begin, end = _span(since, between, now)
    to_stdout = output is None or str(output) == "-"
    wanted = _form(form, output, json)
    if send and (output is not None or form is not None):
        raise UsageError("--send sends the report and writes no file: leave out --output and --format")
    if wanted is Format.HTML and to_stdout and sys.stdout.isatty():
        raise UsageError("a page cannot be shown in a terminal: name a file, -o report.html")
    settings = loaded(config)
    account = account_of(settings, begin, end, now)
    if send:
        from synguard.cli.notify import send_report

        send_report(settings.notify, account, json=json)
        return
    text = _text(account, wanted)
    if output is None or to_stdout:
        print(text, end="")
        return

    write_report(output, text, force=force)


def _form(form: Format | None, output: Path | None, json: bool) -> Format:
    """Return the form that options and the file's name ask for.

    Raises:
        UsageError: Two of them ask for different ones.
    """
    if json and form not in (None, Format.JSON):
        raise UsageError(f"--json and --format {form} exclude each other: give one of them")
    if json or form is not None:
        return form or Format.JSON
    return _BY_SUFFIX.get(output.suffix.lower() if output else "", Format.TEXT)


_BY_SUFFIX: Final = {".html": Format.HTML, ".htm": Format.HTML, ".json": Format.JSON}


def _span(since: str | None, between: tuple[str, str] | None, now: datetime) -> tuple[datetime, datetime]:
    """Return from when to when a report is.

    Raises:
        UsageError: A word is no time, both options are given, or the end is not after the beginning.
    """
    if between is None:
        return parameter_types.past(since or "24h", now), now
    if since is not None:
        raise UsageError("--since and --between exclude each other: give one of them")
    begin, end = (parameter_types.past(word, now) for word in between)
    if begin >= end:
        raise UsageError("--between FROM TO: FROM is the earlier of the two")
    return begin, end


def account_of(config: Config, begin: datetime, end: datetime, now: datetime) -> Account:
    """Gather the report from the ledger, from who is connected now, and from how the host is set."""
    grain_s = grain_for((end - begin).total_seconds())
    with ledger_for_reading(config) as ledger:
        latest = ledger.bans_since(begin, limit=MOST_BANS, until=end)
        bans = {record.ban.id: record for record in latest}
        standing = (record for record in ledger.active_records(now) if record.ban.created_at < end)
        bans |= {record.ban.id: record for record in standing if record.ban.id not in bans}
        verdicts = ledger.verdicts_since(begin, limit=MOST_VERDICTS, until=end)
        incidents = tuple(one for one in ledger.incidents_since(begin) if one.started_at < end)
        actions = tuple(one for one in ledger.actions_since(begin) if one.at < end)
        false_positives = ledger.false_positives_since(begin)
        timeline = Timeline(begin, end, tuple(ledger.history(begin, end, grain_s)))
        first, last = timeline.shown
        closer_s = grain_for((last - first).total_seconds())
        if closer_s < grain_s:
            timeline = Timeline(begin, end, tuple(ledger.history(first, last, closer_s)))
    runs = agent_runs(config.runtime_dir)
    status = read_status(config.runtime_dir) if runs is not False else None
    protected = protected_here(config)
    return Account(
        since=begin,
        until=end,
        mode=status.mode if status else config.mode,
        running=seems_to_run(runs, status, now),
        bans=tuple(bans.values()),
        spared=of_kind(verdicts, VerdictKind.SPARE),
        spoofed=of_kind(verdicts, VerdictKind.SPOOFED),
        watched=len(of_kind(verdicts, VerdictKind.WATCH)),
        incidents=incidents,
        possible_false_positives=possible_false_positives_in(
            bans.values(), connected_peers(bans.values(), now), protected, now
        ),
        actions=actions,
        timeline=timeline,
        host=node(),
        findings=_findings(config),
        false_positives=false_positives,
        embedding=protected.embedding,
        clients_watched=bool(timeline.stretches),
        cut=cut_words(len(latest), len(verdicts)),
    )


def _findings(config: Config) -> tuple[Finding, ...]:
    """Return what the doctor says of the queues that floods fill and of SYN cookies."""
    listeners, sockets = read_listeners(time.monotonic())
    exposed = [one for one in listeners if is_exposed(one)]
    return (sockets, *queue_findings(config, exposed, SYSCTLS), *listener_findings(listeners))


def connected_peers(bans: Iterable[BanRecord], now: datetime) -> dict[str, int]:
    """Return target → addresses in it with a completed connection now, for the active bans."""
    active_bans = [record.ban.target for record in bans if record.stands(now)]
    if not active_bans:
        return {}
    try:
        with closing(SocketTables()) as sensor:
            table = sensor.tcp(CONNECTED)
    except SensorError:  # the report stands without it
        return {}
    return {format_network(target): there.peers for target, there in Targets(active_bans).present(table).items()}


def _text(account: Account, form: Format) -> str:
    if form is Format.JSON:
        return dumps(account_shape(account), indent=2) + "\n"
    if form is Format.HTML:
        return page(account)

    return account_text(account)
