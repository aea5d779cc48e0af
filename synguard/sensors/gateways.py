"""Default gateways of both families, from every routing table, over rtnetlink."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final

from synguard.addresses import Address, unmapped
from synguard.sensors.netlink_dump import HEADER_BYTES, attributes, dump, end_of

NETLINK_ROUTE: Final = 0
RTM_GETROUTE: Final = 26
_RTN_UNICAST: Final = 1
RTMSG_BYTES: Final = 12  # struct rtmsg
RTA_OIF: Final = 4
_RTA_GATEWAY: Final = 5
_RTA_MULTIPATH: Final = 9
_RTA_VIA: Final = 18  # an IPv4 route whose next hop is an IPv6 address (RFC 5549)
_RTNEXTHOP: Final = struct.Struct("=HBBi")
_WIDEST_HALF: Final = 3
"""Routes to 0.0.0.0/1 (as VPN clients set) or 2000::/3 are default routes in all but name."""


def read_default_gateways() -> dict[Address, str]:
    """Return gateway → name of the interface it is reached through; empty where nothing is routed through one.

    All tables, all metrics, every next hop of a multipath route. A default route straight into a device has no gateway.

    Raises:
        SensorError: The routes cannot be read.

    Source: rtnetlink(7). The kernel has no filter for default routes, so a host with a full internet table pays
    about a microsecond a route.
    """
    gateways: dict[Address, str] = {}
    for family in (socket.AF_INET, socket.AF_INET6):
        request = struct.pack("=B11x", family)
        for datagram, offsets in dump(NETLINK_ROUTE, RTM_GETROUTE, request, "the routing tables"):
            gateways.update(gateways_in(datagram, offsets))
    return gateways


def gateways_in(datagram: bytes, offsets: list[int]) -> dict[Address, str]:
    """Return gateway → interface name for the default routes among the RTM_NEWROUTE messages at ``offsets``."""
    found: dict[Address, str] = {}
    for offset in offsets:
        start = offset + HEADER_BYTES
        if end_of(datagram, offset) - start < RTMSG_BYTES:  # no route, whatever it is
            continue
        if datagram[start + 1] <= _WIDEST_HALF and datagram[start + 7] == _RTN_UNICAST:
            for address, interface in _next_hops(datagram, start + RTMSG_BYTES, end_of(datagram, offset), 0):
                found[address] = interface_name(interface)
    return found


def _next_hops(
    datagram: bytes, start: int, end: int, interface: int, *, within: bool = False
) -> Iterator[tuple[Address, int]]:
    """Yield what the attributes of a route name; ``within`` one of its next hops there are no further ones."""
    gateways: list[Address] = []
    for kind, value in attributes(datagram, start, end):
        if kind == RTA_OIF and len(value) == 4:
            interface = struct.unpack("=i", value)[0]
        elif kind == _RTA_GATEWAY and len(value) in (4, 16):
            gateways.append(unmapped(ip_address(value)))
        elif kind == _RTA_VIA and len(value) in (6, 18):
            gateways.append(unmapped(ip_address(value[2:])))
        elif kind == _RTA_MULTIPATH and not within:
            yield from _multipath(value)
    for gateway in gateways:
        yield gateway, interface


def _multipath(value: bytes) -> Iterator[tuple[Address, int]]:
    offset = 0
    while offset + _RTNEXTHOP.size <= len(value):
        length, _flags, _hops, interface = _RTNEXTHOP.unpack_from(value, offset)
        if length < _RTNEXTHOP.size or offset + length > len(value):
            return
        yield from _next_hops(value, offset + _RTNEXTHOP.size, offset + length, interface, within=True)
        offset += (length + 3) & ~3


def interface_name(index: int) -> str:
    """Return the name of an interface; ``interface 7`` where it has gone."""
    try:
        return socket.if_indextoname(index)
    except (OSError, OverflowError):  # it went away between the two questions, or never was one
        return f"interface {index}"
