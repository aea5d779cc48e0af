"""Who may never be banned: this host and what it lives by, the people logged in, and the allow-list."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from itertools import islice
from pathlib import Path
from typing import Final

import psutil

from synguard.addresses import Address, Network, format_network, host_network, parse_address
from synguard.errors import ConfigError, SensorError
from synguard.plain import listed
from synguard.policy.models import Allow
from synguard.readings import KnownParts, Protected
from synguard.sensors.added_allow import PART, added_networks
from synguard.sensors.allow_list import FaultyLinesError, read_allow_networks
from synguard.sensors.gateways import read_default_gateways
from synguard.sensors.local_routes import interface_addresses, read_local_routes
from synguard.sensors.logged_in import read_login_gaps, read_ssh_peers

ALWAYS: Final[Mapping[Network, str]] = {
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv6Network("::1/128"): "loopback",
    IPv4Network("0.0.0.0/32"): "unspecified address",
    IPv6Network("::/128"): "unspecified address",
    IPv4Network("224.0.0.0/4"): "multicast",
    IPv6Network("ff00::/8"): "multicast",
    IPv4Network("255.255.255.255/32"): "broadcast",
}
"""No honest peer sends from these, and dropping them breaks the host itself."""

ADDRESSES: Final = "[allow] addresses"
"""The part that the configuration itself names."""
FILE: Final = "[allow] file "
"""What the name of a part begins with that an allow-list file names."""
OWN: Final = "this host's own addresses"
LOGINS: Final = "who is logged in over SSH"
SETTLED_S: Final = 5.0
"""For so long an allow-list file must have been left alone before whom it no longer names loses protection."""
NAMED: Final = 3
"""Networks of an unreadable part that its sentence names; the rest is a number."""

_MAX_RESOLV_CONF: Final = 64 * 1024
_MAX_RESOLVERS: Final = 32


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts are read; tests put others here."""

    resolv_conf: tuple[Path, ...] = (
        Path("/etc/resolv.conf"),
        Path("/run/systemd/resolve/resolv.conf"),
        Path("/run/NetworkManager/no-stub-resolv.conf"),
    )
    """A missing one names no resolvers; the others hold the servers behind the 127.0.0.53 of systemd-resolved, and
    behind the 127.0.0.1 of NetworkManager's dnsmasq."""
    ssh_peers: Callable[[], Mapping[Address, str]] = read_ssh_peers
    gaps: Callable[[], tuple[str, ...]] = read_login_gaps
    gateways: Callable[[], Mapping[Address, str]] = read_default_gateways


DEFAULT_PLACES: Final = Places()
NOTHING_KNOWN: Final[KnownParts] = {}


def read_protected(allow: Allow, places: Places = DEFAULT_PLACES, known: KnownParts = NOTHING_KNOWN) -> Protected:
    """Return every network that may never be banned with its reason, and a sentence for each part that is not known.

    Read afresh each time, but for allow-list files, which are parsed again when they change. A part that cannot be read
    keeps what is ``known`` of it from before, besides what can be read. Of several reasons for one network the gravest
    stays: what it is to this host, before what a list says of it.
    """
    parts: dict[str, Mapping[Network, str]] = {}
    problems: list[str] = []
    for what, read in _parts(allow, places, known):
        usable: Mapping[Network, str] = {}
        try:
            parts[what] = read()
            continue
        except FaultyLinesError as error:
            faults, usable = error.problems, error.usable
        except ConfigError as error:
            faults = error.problems
        except SensorError as error:
            faults = (str(error),)
        except (OSError, psutil.Error) as error:
            faults = (f"cannot read {what}: {getattr(error, 'strerror', None) or error}",)
        parts[what] = {**known.get(what, {}), **usable}
        problems += [f"{faults[0]}; {_kept(parts[what])}", *faults[1:]]
    for path in allow.files:
        name = f"{FILE}{path}"
        before, now = known.get(name, {}), parts[name]
        if before is not now and before.keys() - now.keys() and _being_written(path):
            parts[name] = {**before, **now}
    _keep_resolvers(parts, [str(path) for path in places.resolv_conf], known)
    networks: dict[Network, str] = {}
    for part in parts.values():
        networks.update(part)
    gaps = (*places.gaps(), *_hidden_resolvers(parts, places))
    return Protected(networks, tuple(problems), gaps, parts=parts)


def _kept(networks: Mapping[Network, str]) -> str:
    """Return who stays protected of a part that cannot be read."""
    if not networks:
        return "nothing of it was known before, so it protects no address until then"
    named = ", ".join(format_network(network) for network in islice(networks, NAMED))  # of maybe 200,000
    more = f" and {len(networks) - NAMED:,} more" if len(networks) > NAMED else ""
    return f"still protected: {named}{more}"


def _being_written(path: Path) -> bool:
    """Return whether a file changed a moment ago: one that is written in place is empty, then half there."""
    try:
        return 0 <= time.time() - path.stat().st_mtime < SETTLED_S
    except OSError:
        return True


def _keep_resolvers(parts: dict[str, Mapping[Network, str]], paths: Sequence[str], known: KnownParts) -> None:
    """Keep the resolvers of before where no file names one now: such files are rewritten in place, and may be gone."""
    if any(not _is_here(network, parts) for path in paths for network in parts[path]):
        return
    for path in paths:
        parts[path] = {**known.get(path, {}), **parts[path]}


def _is_here(network: Network, parts: Mapping[str, Mapping[Network, str]]) -> bool:
    """Return whether a server is one on this host: at loopback, or at an address of its own, as unbound may be."""
    return network.is_loopback or network in parts[OWN]


def _hidden_resolvers(parts: Mapping[str, Mapping[Network, str]], places: Places) -> Iterator[str]:
    """Yield that upstream resolvers cannot be known, where all that files name is a server on this host."""
    named = {network: path for path in places.resolv_conf for network in parts[str(path)]}
    if named and all(_is_here(network, parts) for network in named):
        network, path = next(iter(named.items()))
        yield (
            f"the resolvers that this host asks cannot be known: {path} names {format_network(network)}, "
            "a server on this host; put those that it asks into [allow] addresses"
        )


def _parts(allow: Allow, places: Places, known: KnownParts) -> list[tuple[str, Callable[[], Mapping[Network, str]]]]:
    """Return what is read, named for the operator, the gravest last."""
    added = allow.added
    return [
        *([(PART, lambda: added_networks(added, datetime.now(UTC), known.get(PART, {})))] if added else ()),
        *((f"{FILE}{path}", partial(read_allow_networks, path)) for path in allow.files),
        (ADDRESSES, lambda: dict.fromkeys(allow.addresses, "allow-list of the configuration")),
        *((str(path), partial(resolvers, path)) for path in places.resolv_conf),
        (LOGINS, lambda: _ssh_peers(places)),
        ("the default gateways", lambda: _gateways(places)),
        (OWN, own_addresses),
        ("loopback", lambda: ALWAYS),
    ]


def differences(allow: Allow, known: KnownParts) -> Iterator[str]:
    """Yield a sentence where the configuration's allow-list is not what an agent goes by that ``known`` is of."""
    here = {*map(format_network, allow.addresses), *map(str, allow.files)}
    files = (name.removeprefix(FILE) for name in known if name.startswith(FILE))
    there = {*map(format_network, known.get(ADDRESSES, ())), *files}
    for names, where in ((here - there, "only in the file"), (there - here, "only known to the agent")):
        if names:
            yield (
                f"[allow] of the configuration file is not what the agent goes by: {listed(sorted(names), NAMED)} "
                f"{'is' if len(names) == 1 else 'are'} {where}; reload the agent"
            )


def own_addresses() -> dict[Network, str]:
    """Return what is delivered to this host: ``own address of eth0``, ``delivered to this host by a route on lo``.

    Raises:
        SensorError: The routes cannot be read.
    """
    routed = {
        one: f"delivered to this host by a local route on {device}" for one, device in read_local_routes().items()
    }
    return routed | {one: f"own address of {interface}" for interface, one in interface_addresses()}


def resolvers(path: Path) -> dict[Network, str]:
    r"""Return the servers that one resolv.conf names; a word that is no address is passed over, as the resolver does.

    A sample: ``# by dhclient\nsearch example.net\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\n``.

    Raises:
        OSError: The file is there and cannot be read.
    """
    found: dict[Network, str] = {}
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            text = file.read(_MAX_RESOLV_CONF).decode("utf-8", "replace")
    except FileNotFoundError:
        return found
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and len(found) < _MAX_RESOLVERS:
            with suppress(ValueError):
                found[host_network(parse_address(words[1]))] = f"resolver in {path}"
    return found


def _ssh_peers(places: Places) -> dict[Network, str]:
    return {host_network(address): reason for address, reason in places.ssh_peers().items()}


def _gateways(places: Places) -> dict[Network, str]:
    gateways = places.gateways().items()
    return {host_network(address): f"default gateway via {interface}" for address, interface in gateways}
