"""Our interfaces that lead into other network namespaces, over rtnetlink: whose traffic crosses our chains.

A container hangs on a veth pair: one end in its namespace, the other in ours, alone or as a port of a bridge. The
kernel tells, of our end, the number (nsid) under which we know the namespace of the other. The pair that our default
route goes through leads the other way, to those in front of us. So nothing is taken for a container that only happens
to run on the same machine.

Source: include/uapi/linux/if_link.h, net_namespace.h, rtnetlink.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from synguard.netlink import ROUTE, attribute, attributes, dump, query
from synguard.sensors.gateways import default_hops

BRIDGED_CALL: Final = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")

_RTM_GETLINK: Final = 18
_RTM_GETNSID: Final = 90
_IFINFOMSG: Final = struct.Struct("=BxHiII")
_IFF_UP: Final = 1
_IFLA_IFNAME: Final = 3
_IFLA_MASTER: Final = 10
_IFLA_LINKINFO: Final = 18
_IFLA_INFO_KIND: Final = 1
_IFLA_EXT_MASK: Final = 29
_IFLA_LINK_NETNSID: Final = 37
_SKIP_STATS: Final = 1 << 3
_NETNSA_NSID: Final = 1
_NETNSA_FD: Final = 3


@dataclass(frozen=True, slots=True)
class Link:
    """One of our interfaces."""

    index: int
    name: str
    kind: str
    """``veth``, ``bridge``, …; empty for hardware."""
    master: int
    """Index of the bridge or bond that it is a port of; 0 for none."""
    nsid: int | None
    """Our number for the namespace that its other end is in; None where that is ours."""
    hardware: int = 1
    """``ARPHRD_*``: 1 is Ethernet."""
    up: bool = True
    """Whether it is to be used (``IFF_UP``), whatever its cable says."""


@dataclass(frozen=True, slots=True)
class VethPeer:
    """One of our interfaces behind which another network namespace lies."""

    nsid: int
    interface: str
    """That the host routes through: the veth itself, or the bridge that it is a port of."""
    index: int
    routed: bool
    """Whether packets to it cross our IP chains; else the bridge hands them on below those."""


def read_links() -> list[Link]:
    """Return the interfaces of the calling thread's network namespace.

    Raises:
        SensorError: They cannot be read.
    """
    request = _IFINFOMSG.pack(0, 0, 0, 0, 0) + attribute(_IFLA_EXT_MASK, struct.pack("=I", _SKIP_STATS))
    return [_link(body) for body in dump(ROUTE, _RTM_GETLINK, request, "the network interfaces")]


def read_veth_peers() -> list[VethPeer]:
    """Return what leads into other namespaces, away from our default route.

    Raises:
        SensorError: Interfaces or routes cannot be read.
    """
    return veth_peers_among(read_links(), uplinks(), bridged_call=_is_on(BRIDGED_CALL))


def veth_peers_among(links: Iterable[Link], upward: frozenset[int], *, bridged_call: bool) -> list[VethPeer]:
    """Return the veth peers among our links, given the indexes of those that default routes go through.

    A bridge with a port of hardware hands packets from the wire to a container by itself: our IP chains see them only
    where the kernel is told to call them (``bridge-nf-call-iptables``).
    """
    by_index = {link.index: link for link in links}
    wired = {link.master for link in by_index.values() if link.master and _is_wire(link, upward)}
    peers = []
    for link in by_index.values():
        if link.kind != "veth" or link.nsid is None or link.index in upward:
            continue
        way = by_index.get(link.master, link)
        bridged = way.index in upward or way.index in wired
        peers.append(VethPeer(link.nsid, way.name, way.index, routed=not bridged or bridged_call))
    return peers


def nsid_of(descriptor: int) -> int | None:
    """Return our number for the namespace that a descriptor holds; None where it has none, so no link leads there.

    Raises:
        SensorError: The kernel refused.
    """
    request = struct.pack("=B3x", 0) + attribute(_NETNSA_FD, struct.pack("=I", descriptor))
    for body in query(ROUTE, _RTM_GETNSID, request, "the number of a network namespace"):
        for kind, value in attributes(body, 4):
            if kind == _NETNSA_NSID:
                number: int = struct.unpack("=i", value)[0]
                return None if number < 0 else number
    return None


def uplinks() -> frozenset[int]:
    """Return the indexes of the interfaces that default routes go through, both families, all tables.

    Raises:
        SensorError: The routes cannot be read.
    """
    return frozenset(interface for _, interface in default_hops() if interface)


def _link(body: bytes) -> Link:
    _family, hardware, index, flags, _changed = _IFINFOMSG.unpack_from(body)
    found = dict(attributes(body, _IFINFOMSG.size))
    info = dict(attributes(found.get(_IFLA_LINKINFO, b"")))
    nsid = found.get(_IFLA_LINK_NETNSID)
    return Link(
        index=index,
        name=found.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace"),
        kind=info.get(_IFLA_INFO_KIND, b"").rstrip(b"\0").decode(errors="replace"),
        master=struct.unpack("=I", found[_IFLA_MASTER])[0] if _IFLA_MASTER in found else 0,
        nsid=struct.unpack("=i", nsid)[0] if nsid is not None else None,
        hardware=hardware,
        up=bool(flags & _IFF_UP),
    )


def _is_wire(link: Link, upward: frozenset[int]) -> bool:
    return link.kind in ("", "vlan", "bond", "team", "macvlan") or link.index in upward


def _is_on(sysctl: Path) -> bool:
    try:
        return sysctl.read_text(encoding="ascii").strip() == "1"
    except OSError:  # br_netfilter is not loaded
        return False
