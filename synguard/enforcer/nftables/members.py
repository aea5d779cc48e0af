"""Elements of nf_tables sets, as the kernel tells them, to bans and exceptions. Pure: `elements.py` asks the kernel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TypeAlias

from synguard.enforcer.iptables.set_members import SetMembers
from synguard.enforcer.nftables.elements import Element
from synguard.enforcer.nftables.layout import SetId, Slot
from synguard.model import Hits

_Group: TypeAlias = tuple[bytes, str]
"""Address and comment."""


def packed(slot: Slot) -> bytes:
    """Return an element's key as the kernel keeps it: address, then port, each part padded to four bytes."""
    address, _, port = slot[1].partition(" . ")
    return ip_address(address).packed + (int(port).to_bytes(2, "big") + b"\0\0" if port else b"")


def take_elements(members: SetMembers, one: SetId, elements: Iterable[Element]) -> None:
    """Note what one set holds; a ban's elements differ in the port alone and are taken together."""
    size, network = (4, IPv4Network) if one.family == 4 else (16, IPv6Network)
    ports: dict[_Group, list[int]] = defaultdict(list)
    counts: dict[_Group, Hits] = {}
    for key, comment, packets, octets in elements:
        group = (key[:size], comment)
        so_far = counts.get(group)
        counts[group] = Hits(so_far.packets + packets, so_far.bytes + octets) if so_far else Hits(packets, octets)
        if one.kind.by_port:
            ports[group].append(int.from_bytes(key[size : size + 2], "big"))
    for (address, comment), hits in counts.items():
        try:
            target = network((address, one.length))
        except ValueError:  # bits beyond the mask: no packet can match it
            members.foreign.append(f"{_shown(address)} in set {one.name}")
            continue
        found = tuple(sorted(ports.get((address, comment), ())))
        members.take(one.kind, target, comment, found, hits, one.name)


def _shown(address: bytes) -> str:
    return str(ip_address(address)) if len(address) in (4, 16) else f"a key of {len(address)} bytes"
