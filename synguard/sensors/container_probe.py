"""What a namespace behind one of our interfaces says of itself: whether it lives by us, and its own addresses.

A veth pair alone makes no container: it may as well lead to a neighbour, a router or an attacker. A container's way
out is this host, which forwards for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from synguard.addresses import Address
from synguard.sensors.gateways import read_default_gateways
from synguard.sensors.local_routes import interface_addresses
from synguard.sensors.namespaces import inside
from synguard.sensors.veth_links import uplinks

FORWARDING: Final = (Path("/proc/sys/net/ipv4/ip_forward"), Path("/proc/sys/net/ipv6/conf/all/forwarding"))


@dataclass(frozen=True, slots=True)
class ContainerProbe:
    """One namespace, seen from inside."""

    gateways: frozenset[Address]
    goes_out: bool
    """Whether it has a default route at all; one straight into a device has no gateway."""
    addresses: frozenset[Address]
    """Its own, but for loopback and link-local ones."""

    def lives_by(self, own: frozenset[Address]) -> bool:
        """Return whether its way out is a host with these addresses.

        A link-local gateway identifies no host: some container networks answer for it on every link.
        """
        if not self.gateways:
            return self.goes_out
        return any(gateway in own or gateway.is_link_local for gateway in self.gateways)


def probe_container(descriptor: int) -> ContainerProbe:
    """Return what the namespace that a descriptor holds says of itself.

    Raises:
        SensorError: It may not be entered, is gone, or cannot be read.
    """
    return inside(descriptor, _read)


def own_addresses() -> frozenset[Address]:
    """Return the addresses of the calling thread's namespace, but for loopback and link-local ones."""
    found = {one.network_address for _, one in interface_addresses()}
    return frozenset(one for one in found if not (one.is_loopback or one.is_link_local))


def forwards() -> bool:
    """Return whether this host forwards packets of either family; one that does not has no containers to guard."""
    for switch in FORWARDING:
        try:
            if switch.read_text(encoding="ascii").strip() not in ("", "0"):
                return True
        except OSError:  # no such family here
            continue
    return False


def _read() -> ContainerProbe:
    return ContainerProbe(frozenset(read_default_gateways()), bool(uplinks()), own_addresses())
