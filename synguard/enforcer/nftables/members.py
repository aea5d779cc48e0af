"""Elements of nf_tables sets, as the kernel tells them, to bans and exceptions. Pure: `elements.py` asks the kernel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Final, TypeAlias

from synguard.addresses import compact_network
from synguard.enforcer.iptables.set_members import SetMembers
from synguard.enforcer.names import parse_member
from synguard.enforcer.nftables.elements import Element
from synguard.enforcer.nftables.layout import SetId, Slot
from synguard.memory import at_once
from synguard.model import NO_HITS, Hits
from synguard.network_words import word_of_network

_Group: TypeAlias = tuple[bytes, str]
"""Address and comment."""


def packed(slot: Slot) -> bytes:
    """Return an element's key as the kernel keeps it: address, then port, each part padded to four bytes."""
    address, _, port = slot[1].partition(" . ")
    return inet_pton(AF_INET6 if ":" in address else AF_INET, address) + (
        int(port).to_bytes(2, "big") + b"\0\0" if port else b""
    )


PIECE: Final = 256
"""Elements after which there may be a pause."""


def take_elements(members: SetMembers, one: SetId, elements: Iterable[Element]) -> None:
    """Note what one set holds; a ban's elements differ in the port alone and are taken together."""
    at_once(take_in_pieces(members, one, elements))


def take_in_pieces(members: SetMembers, one: SetId, elements: Iterable[Element]) -> Generator[None, None, None]:
    """Note the same, pausing after each ``PIECE``."""
    size = 4 if one.family == 4 else 16
    beyond = (1 << (8 * size - one.length)) - 1
    ports: dict[_Group, list[int]] = defaultdict(list)
    counts: dict[_Group, Hits] = {}
    for number, (key, comment, packets, octets) in enumerate(elements, 1):
        if not number % PIECE:
            yield
        group = (key[:size], comment)
        so_far = counts.get(group)
        counts[group] = (
            Hits(so_far.packets + packets, so_far.bytes + octets)
            if so_far
            else Hits(packets, octets)
            if packets
            else NO_HITS
        )
        if one.kind.by_port:
            ports[group].append(int.from_bytes(key[size : size + 2], "big"))
    for number, ((address, comment), hits) in enumerate(counts.items(), 1):
        if not number % PIECE:
            yield
        start = int.from_bytes(address, "big")
        if len(address) != size or start & beyond:  # bits beyond the mask: no packet can match it
            members.foreign.append(f"{_shown(address)} in set {one.name}")
            continue
        target = compact_network(one.family, start, one.length)
        found = tuple(sorted(ports.get((address, comment), ())))
        members.take(one.kind, target, comment, found, hits, one.name)


def take_stopped(targets: set[str], hits: dict[str, Hits], one: SetId, elements: Iterable[Element]) -> None:
    """Note the targets that one set of bans stops, as ``format_network`` writes them, and ban id → what it counted."""
    six = one.family == 6
    size = 16 if six else 4
    beyond = (1 << (8 * size - one.length)) - 1
    tail = f"/{one.length}" if beyond else ""
    for key, comment, packets, octets in elements:
        start = int.from_bytes(key[:size], "big")
        if len(key) < size or start & beyond:  # no packet can match it
            continue
        targets.add(
            word_of_network(compact_network(6, start, one.length)) if six else inet_ntop(AF_INET, key[:4]) + tail
        )
        member = parse_member(comment) if packets else None
        if member:
            hits[member[0]] = hits.get(member[0], NO_HITS) + Hits(packets, octets)


def _shown(address: bytes) -> str:
    return str(ip_address(address)) if len(address) in (4, 16) else f"a key of {len(address)} bytes"
