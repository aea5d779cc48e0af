"""Which listeners this host can protect: where each lives, which chains its traffic crosses, and what is seen of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from synguard.capabilities import how_to_get, permission_or
from synguard.doctor.coverage_table import FORWARDED, OWN, PAST, Guard, ListenerCoverage
from synguard.doctor.findings import Finding, Level, is_exposed
from synguard.errors import SensorError
from synguard.policy.models import Config
from synguard.readings import Listener
from synguard.sensors.containers import Containers
from synguard.sensors.every_namespace import EveryNamespace
from synguard.sensors.namespaces import Sighting, Walk, inside
from synguard.sensors.veth_links import nsid_of, read_links

_PAST_KINDS: Final = frozenset({"macvlan", "macvtap", "ipvlan"})
"""Interfaces whose packets go from the wire into another namespace without crossing ours."""
_LOOK_FOR_S: Final = 1.0
_RELAYS: Final = ("docker-proxy", "rootlessport", "slirp4netns", "pasta", "passt", "conmon-proxy")


@dataclass(frozen=True, slots=True)
class Coverage:
    """The map, and what is to be said of it."""

    rows: tuple[ListenerCoverage, ...] = ()
    findings: tuple[Finding, ...] = ()


def read_coverage(config: Config, own: Sequence[Listener], now: float) -> Coverage:
    """Return the coverage of what listens here and behind here; loopback listeners, which no one reaches, left out."""
    rows = [_own(one) for one in own if is_exposed(one)]
    findings = list(_relays(own))
    if config.containers.watch == "off":
        findings.append(Finding("containers", Level.WARN, "not watched: containers.watch is off", "set it to auto"))
        return Coverage(tuple(rows), tuple(findings))
    try:
        with closing(EveryNamespace()) as everywhere:
            everywhere.look(now)
            everywhere.connections(now)  # they tell which ports of this host lead to which of theirs
            everywhere.half_open(now)
            foreign = [one for one in everywhere.listeners(now) if one.namespace]
            rows += [_foreign(one, everywhere) for one in foreign if is_exposed(one)]
            rows += _unread(everywhere.containers)
            findings.append(_containers(everywhere))
    except SensorError as error:
        findings.append(Finding("containers", Level.WARN, str(error), permission_or("see dmesg")))
    past = list(past_us())
    rows += past
    if past:
        names = ", ".join(row.namespace for row in past[:4])
        reason = f"{names}: packets go in by macvlan or ipvlan, past the chains of this host, where no ban stops them"
        findings.append(Finding("containers", Level.WARN, reason, "run synguard in that namespace as well"))
    return Coverage(tuple(rows), tuple(findings))


def past_us() -> Iterator[ListenerCoverage]:
    """Yield the namespaces of this machine that share an interface of ours without crossing our chains."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    until = time.monotonic() + _LOOK_FOR_S
    try:
        for sighting in Walk().sightings():
            if time.monotonic() > until:
                return
            if _shares_our_wire(sighting, own):
                yield ListenerCoverage("", 0, (), sighting.label(), "", PAST, Guard.NO)
    finally:
        os.close(own)


def _shares_our_wire(sighting: Sighting, own: int) -> bool:
    def look() -> bool:
        links = [link for link in read_links() if link.kind in _PAST_KINDS and link.nsid is not None]
        return bool(links) and nsid_of(own) in {link.nsid for link in links}

    try:
        descriptor = sighting.open()
    except SensorError:
        return False
    try:
        return inside(descriptor, look)
    except SensorError:  # without the right to enter, the finding on permissions says so
        return False
    finally:
        os.close(descriptor)


def _own(one: Listener) -> ListenerCoverage:
    return ListenerCoverage(str(one.address), one.port, (), "", one.process, OWN, Guard.YES)


def _foreign(one: Listener, everywhere: EveryNamespace) -> ListenerCoverage:
    published = everywhere.published_as(one.namespace, one.inner_port)
    return ListenerCoverage(
        str(one.address), one.inner_port, published, one.namespace, one.process, FORWARDED, Guard.YES
    )


def _unread(containers: Containers) -> Iterator[ListenerCoverage]:
    for one in containers.unread:
        yield ListenerCoverage("", 0, (), f"behind {one.interface}", "", FORWARDED, Guard.SYNS)
    for bridge in containers.bridged:
        yield ListenerCoverage("", 0, (), f"behind {bridge.interface}", "", PAST, Guard.NO)


def _containers(everywhere: EveryNamespace) -> Finding:
    containers = everywhere.containers
    reason = containers.summary()
    if containers.bridged:
        fix = "sysctl -w net.bridge.bridge-nf-call-iptables=1, or run synguard in those namespaces"
        return Finding("containers", Level.WARN, reason, fix)
    if containers.unread:
        fix = f"{how_to_get(['CAP_SYS_ADMIN', 'CAP_SYS_PTRACE'])}; else connection floods go unseen there"
        return Finding("containers", Level.WARN, reason, fix)
    return Finding("containers", Level.OK, reason)


def _relays(own: Sequence[Listener]) -> Iterator[Finding]:
    """Yield a warning where a program relays connections into containers: there all sources look the same."""
    names = sorted({one.process.partition("[")[0] for one in own if one.process.startswith(_RELAYS)})
    if names:
        yield Finding(
            "relays",
            Level.WARN,
            f"{' and '.join(names)} relays connections: in the container they come from the bridge's own address, "
            "which is never banned; what the kernel forwards by itself shows its true source",
            'Docker: "userland-proxy": false in daemon.json; rootless: publish through the host\'s own web server',
        )
