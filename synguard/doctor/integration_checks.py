"""Whether messages and metrics can leave this host: services, their library, who can read figures."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from ipaddress import ip_address

from synguard.doctor.findings import Finding, Level
from synguard.errors import ConfigError
from synguard.notify.deliver import how_to_install
from synguard.notify.redaction import is_webhook
from synguard.notify.services import load_services
from synguard.policy.integrations import listen_address
from synguard.policy.models import Config
from synguard.readers import group_id, is_shared


def integration_findings(config: Config) -> Iterator[Finding]:
    """Yield what is to be said of ``[notify]`` and ``[metrics]``; nothing where neither is used."""
    yield from _services(config)
    yield from _readers(config)
    address = listen_address(config.metrics.listen)
    if address and not ip_address(address[0]).is_loopback:
        reason = f"other hosts can read the metrics at {config.metrics.listen}: they show whether an attack works"
        yield Finding("metrics", Level.WARN, reason, 'set [metrics] listen = "127.0.0.1:9877", or filter the port')


def _readers(config: Config) -> Iterator[Finding]:
    """Yield who may read without root; nothing where no group is named, or there is none."""
    name, gid = config.read_group, group_id(config.read_group)
    if gid is None:
        return
    try:
        closed = [
            one for one in (config.runtime_dir, config.state_dir) if one.stat().st_gid != gid or not is_shared(one)
        ]
    except OSError:  # not there yet, or not for this user to see
        return
    if closed:
        reason = f"the group {name} cannot read: {closed[0]} is closed to it"
        yield Finding("readers", Level.WARN, reason, f"run the agent with Group={name}, and restart it")
    else:
        yield Finding(
            "readers", Level.OK, f"members of the group {name} may read without root; usermod -aG {name} USER"
        )


def _services(config: Config) -> Iterator[Finding]:
    try:
        services = load_services(config.notify)
    except ConfigError as error:
        yield Finding(
            "notify", Level.WARN, f"no messages are sent: {error.problems[0]}", "do what the reason says, then restart"
        )
        return
    unspoken = [one.name for one in services if not is_webhook(one.url)] if find_spec("apprise") is None else []
    if unspoken:
        reason = f"{', '.join(unspoken)}: the library that speaks to it is not installed"
        yield Finding("notify", Level.WARN, reason, how_to_install())
    elif services:
        yield Finding(
            "notify", Level.OK, f"{len(services)} services are notified of attacks; try: synguard notify test"
        )
