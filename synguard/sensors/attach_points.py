"""Where packets of clients enter this host: the interfaces that the challenge program is attached to, as they change.

An interface that is a port of a bond, team or bridge hands its packets on; the one above it holds the address, and
there they are looked at. What leads to containers of this host is left out, and so is what is down.
WireGuard, tun and other links without Ethernet headers are supported.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from synguard.addresses import Network
from synguard.errors import SensorError
from synguard.sensors.local_routes import interface_addresses
from synguard.sensors.veth_links import Link, VethPeer, read_links, read_veth_peers, uplinks

AGAIN_S: Final = 1.0
"""Interfaces that keep changing are read so often at most."""
IN_ANY_CASE_S: Final = 60.0
"""Without any change: default routes come and go without a word about interfaces."""

_LOOPBACK: Final = 772
_PLAIN_IP: Final = frozenset({512, 519, 768, 769, 776, 778, 823, 65_534})
"""PPP, raw IP, tunnels, tun and WireGuard: packets begin with the IP header. Source: linux/if_arp.h."""
_KNOWN: Final = _PLAIN_IP | {1}
_NEVER_ENTERED: Final = frozenset({"dummy", "ifb", "nlmon", "vcan", "vrf"})
"""Kinds that no packet of a client comes in by; those of a VRF come in by its ports."""
_GROUPS: Final = 0x1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_BUFFER: Final = 1 << 16
_DRAINED: Final = 256
"""Messages taken from the socket at once; more than these are one change anyway."""


@dataclass(frozen=True, slots=True)
class AttachPoint:
    """One interface that clients' packets enter by."""

    index: int
    """Stays the same when it is renamed."""
    name: str


@dataclass(frozen=True, slots=True)
class AttachPoints:
    """All of them, and what they may be addressed to."""

    points: tuple[AttachPoint, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    """Interface with an address → why clients that come in by it are not challenged."""
    addresses: tuple[Network, ...] = ()
    """This host's own addresses but for loopback, as networks of one address."""


def attach_points_among(
    links: Iterable[Link], addressed: Collection[str], upward: frozenset[int], peers: Iterable[VethPeer]
) -> tuple[tuple[AttachPoint, ...], tuple[tuple[str, str], ...]]:
    """Return the attach points among our links, and which are left out and why.

    ``addressed`` are the names of those with an address, ``upward`` the indexes of those that default routes go
    through, ``peers`` what leads to other network namespaces of this machine.
    """
    by_index = {link.index: link for link in links}
    inward = {peer.index for peer in peers if peer.index not in upward and peer.routed}
    points, left_out = [], []
    for link in sorted(by_index.values(), key=lambda link: link.index):
        master = by_index.get(link.master)
        hands_on = master is not None and master.kind != "vrf"
        used = link.up and (link.name in addressed or link.index in upward)
        if hands_on or not used or link.hardware == _LOOPBACK or link.kind in _NEVER_ENTERED or link.index in inward:
            continue
        if link.hardware in _KNOWN:
            points.append(AttachPoint(link.index, link.name))
        else:
            left_out.append((link.name, f"packets of hardware type {link.hardware} are not understood"))
    return tuple(points), tuple(left_out)


def read_attach_points() -> AttachPoints:
    """Return the attach points of the calling thread's network namespace.

    Raises:
        SensorError: Interfaces, addresses or routes cannot be read.
    """
    try:
        addresses = list(interface_addresses())
    except OSError as error:
        raise SensorError(f"cannot read the addresses of this host: {error.strerror or error}") from error
    points, left_out = attach_points_among(read_links(), {name for name, _ in addresses}, uplinks(), read_veth_peers())
    own = {one for _, one in addresses if not one.is_loopback}
    return AttachPoints(points, left_out, tuple(sorted(own, key=lambda one: (one.version, one.network_address.packed))))


class AttachPointWatch:
    """Reads the attach points anew when the kernel reports that interfaces or addresses have changed."""

    def __init__(self, read: Callable[[], AttachPoints] = read_attach_points) -> None:
        self._read = read
        self._channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._channel.bind((0, _GROUPS))
        self._channel.setblocking(False)
        self._changed = True
        self._not_before = self._due = float("-inf")

    def follow(self, now: float) -> AttachPoints | None:
        """Return the attach points where they may have changed since the last call; None where they have not.

        Raises:
            SensorError: They cannot be read; the next call tries again.
        """
        self._changed |= self._has_news()
        if now < self._not_before or not (self._changed or now >= self._due):
            return None
        self._not_before, self._due = now + AGAIN_S, now + IN_ANY_CASE_S
        self._changed = True  # until they have been read
        found = self._read()
        self._changed = False
        return found

    def close(self) -> None:
        """Stop listening."""
        self._channel.close()

    def _has_news(self) -> bool:
        """Return whether anything was reported; what it says is asked for afterwards."""
        for number in range(_DRAINED):
            try:
                self._channel.recv(_BUFFER)
            except BlockingIOError:
                return number > 0
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # else reports were lost: there were many
                    raise SensorError(f"cannot follow the network interfaces: {error.strerror}") from error
        return True
