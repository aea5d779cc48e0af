"""What the kernel delivers to this host itself: every route of type ``local``, over rtnetlink.

Addresses of interfaces have one each; ``ip route add local 203.0.113.0/24 dev lo`` (AnyIP) has no address at all.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Final

import psutil

from synguard.addresses import WIDEST_BY_VERSION, Network, host_network, parse_address
from synguard.netlink import ROUTE, attributes, dump, interface_name
from synguard.sensors.gateways import RTA_OIF, RTM_GETROUTE, RTMSG_BYTES

_RTN_LOCAL: Final = 2
_RTA_DST: Final = 1


def interface_addresses() -> Iterator[tuple[str, Network]]:
    """Yield (interface, one of its addresses as a network of one) of the calling thread's network namespace.

    Raises:
        OSError: The interfaces cannot be read.
    """
    for interface, entries in psutil.net_if_addrs().items():
        for entry in entries:
            if entry.family in (socket.AF_INET, socket.AF_INET6):
                yield interface, _host(entry.address)


@lru_cache(maxsize=4096)
def _host(text: str) -> Network:
    """Return the network of one address; remembered, as a host may have a thousand of them."""
    return host_network(parse_address(text))


def read_local_routes() -> dict[Network, str]:
    """Return network → name of its interface, from all tables.

    Routes wider than any ban may be are left out: ``local 0.0.0.0/0`` in a table of its own is how a transparent proxy
    takes in what is not for this host.

    Raises:
        SensorError: The routes cannot be read.

    Source: rtnetlink(7). With strict checking the kernel (Linux 4.20) answers with local routes alone.
    """
    found: dict[Network, str] = {}
    for family in (socket.AF_INET, socket.AF_INET6):
        request = struct.pack("=B6xB4x", family, _RTN_LOCAL)
        for body in dump(ROUTE, RTM_GETROUTE, request, "the routing tables", strict=True):
            found.update(local_routes_in(body))
    return found


def local_routes_in(body: bytes) -> Iterator[tuple[Network, str]]:
    """Yield (network, interface) of an RTM_NEWROUTE message that is a local route."""
    if len(body) < RTMSG_BYTES or body[7] != _RTN_LOCAL:
        return
    length, interface, destination = body[1], 0, b""
    for kind, value in attributes(body, RTMSG_BYTES):
        if kind == RTA_OIF and len(value) == 4:
            interface = struct.unpack("=i", value)[0]
        elif kind == _RTA_DST:
            destination = value
    network = _network(destination, length)
    if network is not None and length >= WIDEST_BY_VERSION[network.version]:
        yield network, interface_name(interface)


def _network(destination: bytes, length: int) -> Network | None:
    if len(destination) == 4 and length <= 32:
        return IPv4Network((destination, length), strict=False)
    if len(destination) == 16 and length <= 128:
        return IPv6Network((destination, length), strict=False)
    return None
