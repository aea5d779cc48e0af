"""Whether the peers of the fleet can be reached as configured: secrets, the local API, the BGP speaker."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from synguard.doctor.findings import Finding, Level
from synguard.errors import ConfigError, FleetError, SynguardError
from synguard.fleet.secrets import API_KEY, PASSWORD, secret_from
from synguard.policy.fleet import Bgp, CrowdSec
from synguard.policy.models import Config
from synguard.programs import find_tool
from synguard.sensors.protected import own_addresses
from synguard.status.agent_commands import start_command
from synguard.status.model import PeerStatus

_PAGE: Final = "see docs/fleet.md"


def fleet_findings(config: Config, peers: tuple[PeerStatus, ...] = ()) -> Iterator[Finding]:
    """Yield what is to be said of ``[crowdsec]`` and ``[bgp]``; nothing where neither is used.

    ``peers`` are those of a running agent, whose word is taken; without one each peer is asked once.
    """
    if config.crowdsec.url:
        yield from _secrets(config.crowdsec)
    if config.bgp.speaker != "off":
        yield from _routes(config.bgp)
    if peers:
        yield from map(_as_the_agent_says, peers)
        return
    if config.crowdsec.url:
        yield from _local_api(config.crowdsec)
    if config.bgp.speaker != "off":
        yield _speaker(config.bgp)


def _as_the_agent_says(peer: PeerStatus) -> Finding:
    if peer.reachable is False:
        return Finding(peer.name, Level.WARN, peer.error, "do what the reason says; synguard fleet shows since when")
    notes = "".join(f"; {note}" for note in peer.notes)
    said = "answers" if peer.reachable else "has not been asked yet"
    return Finding(peer.name, Level.OK, f"{peer.place} {said}{notes}")


def _secrets(settings: CrowdSec) -> Iterator[Finding]:
    for inline, file, key in (
        (settings.api_key, settings.api_key_file, "api_key"),
        (settings.password, settings.password_file, "password"),
    ):
        if inline is not None:
            fix = f"put it into a file of mode 600 and name that in {key}_file"
            yield Finding("crowdsec", Level.WARN, f"{key} is in the config itself", fix)
        try:
            secret_from(None, file, "")
        except ConfigError as error:
            yield Finding(
                "crowdsec", Level.BAD, error.problems[0], f"chmod 600 {file}" if file else "do what the reason says"
            )
    if settings.url.startswith("http://") and not _is_here(settings.url):
        reason = (
            "key, password and decisions travel unencrypted: anyone who can read or change them decides who is banned"
        )
        yield Finding("crowdsec", Level.WARN, reason, "give the local API a certificate, and a url with https://")


def _is_here(url: str) -> bool:
    host = url.removeprefix("http://")
    return host.startswith(("127.", "localhost", "[::1]"))


def _local_api(settings: CrowdSec) -> Iterator[Finding]:
    from synguard.fleet.lapi import AlertSink, DecisionSource

    try:
        key = secret_from(settings.api_key, settings.api_key_file, API_KEY)
        password = secret_from(settings.password, settings.password_file, PASSWORD)
    except ConfigError:  # reported already
        return
    if key is not None:
        source = DecisionSource(settings.url, key, settings.ca_file)
        yield _asked("crowdsec decisions", source.check, "the key is accepted")
    if settings.machine_id and password is not None:
        sink = AlertSink(settings.url, settings.machine_id, password, settings.ca_file)
        yield _asked("crowdsec alerts", sink.check, f"{settings.machine_id} may log in")
    if key is None and password is None:
        reason = "no secret is named in the config; where systemd gives it as a credential, only the agent can read it"
        yield Finding("crowdsec", Level.WARN, reason, f"{start_command()}; then synguard fleet")


def _asked(name: str, ask: Callable[[], None], good: str) -> Finding:
    try:
        ask()
    except FleetError as error:
        return Finding(name, Level.WARN, str(error), f"do what the reason says; {_PAGE}")
    return Finding(name, Level.OK, f"the local API answers, and {good}")


def _routes(settings: Bgp) -> Iterator[Finding]:
    if settings.sources == "off" and not settings.flood_above and not settings.next_hop:
        reason = "nothing is ever announced: sources is off, flood_above is 0, and next_hop is empty"
        yield Finding("bgp", Level.WARN, reason, f"set one of them in [bgp]; {_PAGE}")
    try:
        own = own_addresses()
    except SynguardError:  # reported by the finding about who is protected
        return
    strange = [str(one) for one in settings.destinations if one not in own]
    if strange:
        reason = f"{', '.join(strange[:3])}: not an address of this host, and routes may be announced for it"
        yield Finding("bgp", Level.WARN, reason, "correct destinations in [bgp], unless this host routes for it")


def _speaker(settings: Bgp) -> Finding:
    name = settings.speaker
    fault = _exabgp_fault(settings.pipe) if settings.pipe is not None and name == "exabgp" else _gobgp_fault()
    if fault:
        return Finding(name, Level.WARN, fault, f"start it, then: synguard fleet; {_PAGE}")
    return Finding(name, Level.OK, "it is there; routes are announced by the agent")


def _exabgp_fault(pipe: Path) -> str:
    for one in (pipe, pipe.with_suffix(".out")):
        try:
            found = one.stat()
        except OSError as error:
            return f"{one}: {error.strerror}; make it with: mkfifo -m 600 {one}"
        if not stat.S_ISFIFO(found.st_mode):
            return f"{one}: not a named pipe; make it with: mkfifo -m 600 {one}"
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return f"{pipe}: no ExaBGP reads it"
    return ""


def _gobgp_fault() -> str:
    return "" if find_tool("gobgp") else "gobgp is not installed"
