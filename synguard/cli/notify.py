"""``synguard notify``: where messages go, and a test of each service."""

from __future__ import annotations

import asyncio

import typer

from synguard.cli.context import utcnow
from synguard.cli.groups import group_of
from synguard.cli.options import ConfigFile, Json, loaded
from synguard.errors import SynguardError
from synguard.notify.message import Message
from synguard.notify.sender import Sender
from synguard.notify.services import Service, host_name, load_key, load_services
from synguard.notify.template import report, trial
from synguard.notify.webhook import Refused
from synguard.output.tables import print_json, print_lines, printable
from synguard.output.times import both_zones
from synguard.policy.integrations import Notify
from synguard.report.account import Account

_HELP = """\
Show where messages about attacks go; send each service a test.

Examples:
  synguard notify show
  synguard notify test
"""

NOBODY = "no service is configured, so no messages are sent: put urls or urls_file into [notify]"


def test(config: ConfigFile = None, json: Json = False) -> None:  # noqa: PT028  # a verb, no test
    """Send a test message to each service, and show what each answered.

    Examples:
      synguard notify test
      synguard notify test --json | jq '.[] | select(.ok | not)'

    Each service is tried once, for 20 s at most. Exit code 1 if one of them did
    not accept the message, or none is configured.
    """
    settings = loaded(config).notify
    _send(settings, trial(host_name(settings), utcnow()), None, json=json)


def send_report(settings: Notify, account: Account, *, json: bool) -> None:
    """Send a report to each service, as a page where it takes files, and tell what each answered."""
    from synguard.report.html import page
    from synguard.report.judgement import judged

    host, judgement = host_name(settings), judged(account)
    span = f"{both_zones(account.since)} to {both_zones(account.until)}"
    message = report(host, account.until, span, [judgement.headline, *judgement.sentences, *judgement.unknown])
    name = f"synguard-{host}-{account.since.astimezone():%Y-%m-%d}.html"
    _send(settings, message, (name, page(account)), json=json)


def _send(settings: Notify, message: Message, page: tuple[str, str] | None, *, json: bool) -> None:
    """Send a message to each service once, and tell what each answered.

    Raises:
        Exit: One of them did not take it.
    """
    answers = [{"service": one.name, **_tried(one, settings, message, page)} for one in _services(settings)]
    if json:
        print_json(answers)
    for one in [] if json else answers:
        print(printable(f"{one['service']}: {'' if one['ok'] else 'FAILED: '}{one['answer']}"))
    if not all(one["ok"] for one in answers):
        raise typer.Exit(SynguardError.exit_code)


def show(config: ConfigFile = None, json: Json = False) -> None:
    """Show where messages go, which events are sent, and how often.

    Examples:
      synguard notify show
      synguard notify show --json
    """
    settings = loaded(config).notify
    services = [one.name for one in load_services(settings)]
    shown = settings.model_dump(mode="json", exclude={"urls", "urls_file", "webhook_key_file"})
    if json:
        print_json({"services": services, "signed": settings.webhook_key_file is not None, **shown})
        return
    print_lines(services or [NOBODY])
    print(f"events: {', '.join(shown['events'])}")
    print(
        f"at most {shown['per_hour']} messages an hour; every {shown['digest']} while an attack lasts; "
        f"the end is sent after {shown['quiet']} of quiet"
    )


def _services(settings: Notify) -> tuple[Service, ...]:
    services = load_services(settings)
    if not services:
        raise SynguardError(NOBODY)
    return services


def _tried(service: Service, settings: Notify, message: Message, page: tuple[str, str] | None) -> dict[str, object]:
    sender = Sender(host_name(settings), load_key(settings))
    try:
        answer = asyncio.run(sender.send(service, message, page))
    except Refused as refused:
        return {"ok": False, "answer": refused.answer}
    return {"ok": True, "answer": answer}


notify = group_of(_HELP, test, show)
