"""``synguard notify``: where messages go, and a test of each service."""

from __future__ import annotations

import asyncio

import typer

from synguard.cli.context import utcnow
from synguard.cli.groups import group_of
from synguard.cli.options import ConfigFile, Json, loaded
from synguard.errors import SynguardError
from synguard.notify.sender import Sender
from synguard.notify.services import Service, host_name, load_key, load_services
from synguard.notify.template import trial
from synguard.notify.webhook import Refused
from synguard.output.tables import print_json, printable
from synguard.policy.integrations import Notify

_HELP = """\
See where messages about attacks go, without their secrets, and send each service a test.

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

    Each service is tried once, for 20 s at most. Exit code 1 if one did not accept it, or if there is none.
    """
    settings = loaded(config).notify
    answers = [{"service": one.name, **_tried(one, settings)} for one in _services(settings)]
    if json:
        print_json(answers)
    for one in [] if json else answers:
        print(printable(f"{one['service']}: {'' if one['ok'] else 'FAILED: '}{one['answer']}"))
    if not all(one["ok"] for one in answers):
        raise typer.Exit(SynguardError.exit_code)


def show(config: ConfigFile = None, json: Json = False) -> None:
    """Show where messages go, which events are sent, and how often. Secrets are not shown.

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
    for name in services or [NOBODY]:
        print(printable(name))
    print(f"told: {', '.join(shown['events'])}")
    print(
        f"at most {shown['per_hour']} messages an hour; every {shown['digest']} while an attack lasts; "
        f"an end is told after {shown['quiet']} of quiet"
    )


def _services(settings: Notify) -> tuple[Service, ...]:
    services = load_services(settings)
    if not services:
        raise SynguardError(NOBODY)
    return services


def _tried(service: Service, settings: Notify) -> dict[str, object]:
    host = host_name(settings)
    try:
        answer = asyncio.run(Sender(host, load_key(settings)).send(service, trial(host, utcnow())))
    except Refused as refused:
        return {"ok": False, "answer": refused.answer}
    return {"ok": True, "answer": answer}


notify = group_of(_HELP, test, show)
