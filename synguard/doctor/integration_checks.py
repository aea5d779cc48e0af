"""Whether what the agent would tell others can be told: services, their library, who can read figures."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from ipaddress import ip_address

from synguard.doctor.findings import Finding, Level
from synguard.errors import ConfigError
from synguard.notify.redaction import is_webhook
from synguard.notify.services import load_services
from synguard.policy.integrations import listen_address
from synguard.policy.models import Config


def integration_findings(config: Config) -> Iterator[Finding]:
    """Yield what is to be said of ``[notify]`` and ``[metrics]``; nothing where neither is used."""
    yield from _services(config)
    address = listen_address(config.metrics.listen)
    if address and not ip_address(address[0]).is_loopback:
        reason = f"other hosts can read the figures at {config.metrics.listen}, and an attacker how well it goes"
        yield Finding("metrics", Level.WARN, reason, 'set [metrics] listen = "127.0.0.1:9877", or filter the port')


def _services(config: Config) -> Iterator[Finding]:
    try:
        services = load_services(config.notify)
    except ConfigError as error:
        yield Finding("notify", Level.WARN, f"no messages are sent: {error.problems[0]}", "as it says, then restart")
        return
    unspoken = [one.name for one in services if not is_webhook(one.url)] if find_spec("apprise") is None else []
    if unspoken:
        reason = f"{', '.join(unspoken)}: the library that speaks to it is not installed"
        yield Finding("notify", Level.WARN, reason, "pip install 'synguard[notify]'")
    elif services:
        yield Finding("notify", Level.OK, f"{len(services)} services are told of attacks; try: synguard notify test")
