"""Default gateways of both families, from every routing table, over rtnetlink."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Final

from synguard.addresses import Address, unmapped
from synguard.netlink import ROUTE, attributes, dump, interface_name

RTM_GETROUTE: Final = 26
_RTN_UNICAST: Final = 1
RTMSG_BYTES: Final = 12  # struct rtmsg
RTA_OIF: Final = 4
_RTA_GATEWAY: Final = 5
_RTA_MULTIPATH: Final = 9
_RTA_VIA: Final = 18  # an IPv4 route whose next hop is an IPv6 address (RFC 5549)
_RTA_NH_ID: Final = 30
RTM_GETNEXTHOP: Final = 106
_NHMSG_BYTES: Final = 8  # struct nhmsg
_NHA_ID: Final = 1
_NHA_GROUP: Final = 2
_NHA_OIF: Final = 5
_NHA_GATEWAY: Final = 6
_GROUP_ENTRY: Final = struct.Struct("=IBBH")
_RTNEXTHOP: Final = struct.Struct("=HBBi")
_WIDEST_HALF: Final = 3
"""Routes to 0.0.0.0/1 (as VPN clients set) or 2000::/3 are default routes in all but name."""


def read_default_gateways() -> dict[Address, str]:
    """Return gateway → name of the interface it is reached through; empty where nothing is routed through one.

    All tables, all metrics, every next hop of a multipath route. A default route straight into a device has no gateway.

    Raises:
        SensorError: The routes cannot be read.
    """
    return {address: interface_name(index) for address, index in default_hops() if address is not None}


def default_hops() -> Iterator[tuple[Address | None, int]]:
    """Yield (gateway or None, index of the interface) of the next hops of default routes, both families, all tables.

    Raises:
        SensorError: The routes cannot be read.

    Source: rtnetlink(7). The kernel has no filter for default routes, so a host with a full internet table pays
    about a microsecond a route.
    """
    objects: set[int] = set()
    for family in (socket.AF_INET, socket.AF_INET6):
        request = struct.pack("=B11x", family)
        for body in dump(ROUTE, RTM_GETROUTE, request, "the routing tables"):
            yield from hops_in(body)
            objects.update(objects_in(body))
    if objects:
        hops = hops_of_objects(dump(ROUTE, RTM_GETNEXTHOP, bytes(_NHMSG_BYTES), "the nexthop objects"))
        yield from (hop for number in sorted(objects) for hop in hops.get(number, ()))


def hops_in(body: bytes) -> Iterator[tuple[Address | None, int]]:
    """Yield (gateway or None, interface, 0 where none is named) of an RTM_NEWROUTE message that is a default route."""
    if _is_default(body):
        yield from _next_hops(body[RTMSG_BYTES:], 0)


def objects_in(body: bytes) -> Iterator[int]:
    """Yield the number of the nexthop object that a default route names, if it does.

    Where ``net.ipv4.nexthop_compat_mode`` is 0 the route says no more than that.
    """
    for kind, value in attributes(body, RTMSG_BYTES) if _is_default(body) else ():
        if kind == _RTA_NH_ID and len(value) == 4:
            yield struct.unpack("=I", value)[0]


def hops_of_objects(bodies: Iterable[bytes]) -> dict[int, tuple[tuple[Address | None, int], ...]]:
    """Return number → (gateway or None, interface) of each RTM_NEWNEXTHOP message; a group has those of its members."""
    hops: dict[int, tuple[tuple[Address | None, int], ...]] = {}
    groups: dict[int, list[int]] = {}
    for body in bodies:
        number, interface, gateway = 0, 0, None
        for kind, value in attributes(body, _NHMSG_BYTES):
            if kind == _NHA_ID and len(value) == 4:
                number = struct.unpack("=I", value)[0]
            elif kind == _NHA_OIF and len(value) == 4:
                interface = struct.unpack("=i", value)[0]
            elif kind == _NHA_GATEWAY and len(value) in (4, 16):
                gateway = unmapped(ip_address(value))
            elif kind == _NHA_GROUP and len(value) % _GROUP_ENTRY.size == 0:
                groups[number] = [member for member, *_ in _GROUP_ENTRY.iter_unpack(value)]
        hops[number] = ((gateway, interface),)
    return hops | {
        number: tuple(hop for member in members for hop in hops.get(member, ())) for number, members in groups.items()
    }


def _is_default(body: bytes) -> bool:
    return len(body) >= RTMSG_BYTES and body[1] <= _WIDEST_HALF and body[7] == _RTN_UNICAST


def _next_hops(described: bytes, interface: int, *, within: bool = False) -> Iterator[tuple[Address | None, int]]:
    """Yield what the attributes of a route name; ``within`` one of its next hops there are no further ones."""
    gateways: list[Address | None] = []
    for kind, value in attributes(described):
        if kind == RTA_OIF and len(value) == 4:
            interface = struct.unpack("=i", value)[0]
        elif kind == _RTA_GATEWAY and len(value) in (4, 16):
            gateways.append(unmapped(ip_address(value)))
        elif kind == _RTA_VIA and len(value) in (6, 18):
            gateways.append(unmapped(ip_address(value[2:])))
        elif kind == _RTA_MULTIPATH and not within:
            yield from _multipath(value)
    yield from ((gateway, interface) for gateway in gateways or (None,))


def _multipath(value: bytes) -> Iterator[tuple[Address | None, int]]:
    offset = 0
    while offset + _RTNEXTHOP.size <= len(value):
        length, _flags, _hops, interface = _RTNEXTHOP.unpack_from(value, offset)
        if length < _RTNEXTHOP.size or offset + length > len(value):
            return
        yield from _next_hops(value[offset + _RTNEXTHOP.size : offset + length], interface, within=True)
        offset += (length + 3) & ~3
