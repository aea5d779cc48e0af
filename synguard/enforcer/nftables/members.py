"""Bans and exceptions as elements of nf_tables sets: the lines that ``nft -f`` takes, and what the kernel tells.

Pure in both directions; `nft.py` runs the tool, `nft_elements.py` asks the kernel.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from ipaddress import ip_address
from typing import Final, TypeAlias

from synguard.addresses import Network, compact_network
from synguard.enforcer.iptables.set_members import SetMembers
from synguard.enforcer.names import Kind, exception_comment, member_comment
from synguard.enforcer.nftables.elements import Element
from synguard.enforcer.nftables.layout import TABLE, SetId, exception_set, set_for
from synguard.enforcer.plane import Delta
from synguard.model import Ban, Hits, KernelBan

Slot: TypeAlias = tuple[SetId, str]
"""One element: its set and its key as text."""

_Group: TypeAlias = tuple[bytes, str]
"""Address and comment."""

PER_LINE: Final = 100
"""Elements per line. One line is one message to the kernel and at most one complaint, which repeats the line."""
_JIFFY_MS: Final = 10
"""The kernel rounds a timeout down to its tick, which is 1 to 10 ms long; a ban must not end early."""

_DAY_S: Final = 86_400


def sets_needed(change: Delta, now: datetime) -> set[SetId]:
    """Return the sets that what is added goes into."""
    return {
        *(set_for(ban) for ban in change.add if ban.active(now)),
        *(exception_set(Kind.ALLOW, network) for network in change.allow_add),
        *(exception_set(Kind.PROVEN, network) for network in change.proven_add),
    }


def slots(ban: Ban | KernelBan) -> list[Slot]:
    """Return the elements that hold a ban: one, or one per port."""
    one, address = set_for(ban), str(ban.target.network_address)
    return [(one, f"{address} . {port}") for port in ban.ports] or [(one, address)]


def kept_slots(change: Delta, now: datetime) -> list[Slot]:
    """Return the elements that are deleted and created for the same ban, and so must keep their counts."""
    before = {slot: held.ban_id for held in change.remove for slot in slots(held)}
    adding = (ban for ban in change.add if before and ban.active(now))
    return [slot for ban in adding for slot in slots(ban) if before.get(slot) == ban.id]


def element_lines(
    change: Delta, now: datetime, there: set[SetId], counts: Mapping[Slot, Hits], careful: bool
) -> Iterator[str]:
    """Yield the change as lines of one transaction: what goes, then what comes.

    The kernel cannot give an element another comment, nor before Linux 6.12 another timeout, so an element that
    changes is deleted and created with its ``counts``. ``there`` are the sets that exist already. Creating what exists
    and deleting what does not are refused; ``careful`` makes an element exist before it is deleted, and deletes it
    before it is created, which takes three times as long and cannot fail. Bans that have expired are not added.
    """
    adding = [ban for ban in change.add if ban.active(now)]
    coming = {slot: _element(slot[1], ban, now, counts.get(slot)) for ban in adding for slot in slots(ban)}
    going = dict.fromkeys(slot for held in change.remove for slot in slots(held) if slot[0] in there)
    excepted = list(_exception_slots(change.allow_remove, change.proven_remove))
    unsure = [slot for slot in excepted if slot[0] in there]
    if careful:
        unsure += [slot for slot in {**going, **coming} if slot[0] in there]
        going = {}
    yield from _lines("add", unsure)
    yield from _lines("delete", [*unsure, *going])
    spared = _exception_slots(change.allow_add, change.proven_add)
    yield from _lines("add", ((one, f'{key} comment "{exception_comment(one.kind)}"') for one, key in spared))
    yield from _lines("create", ((slot[0], text) for slot, text in coming.items()))


def packed(slot: Slot) -> bytes:
    """Return an element's key as the kernel keeps it: address, then port, each part padded to four bytes."""
    address, _, port = slot[1].partition(" . ")
    return ip_address(address).packed + (int(port).to_bytes(2, "big") + b"\0\0" if port else b"")


def take_elements(members: SetMembers, one: SetId, elements: Iterable[Element]) -> None:
    """Note what one set holds; a ban's elements differ in the port alone and are taken together."""
    size = 4 if one.family == 4 else 16
    beyond = (1 << (8 * size - one.length)) - 1
    ports: dict[_Group, list[int]] = defaultdict(list)
    counts: dict[_Group, Hits] = {}
    for key, comment, packets, octets in elements:
        group = (key[:size], comment)
        so_far = counts.get(group)
        counts[group] = Hits(so_far.packets + packets, so_far.bytes + octets) if so_far else Hits(packets, octets)
        if one.kind.by_port:
            ports[group].append(int.from_bytes(key[size : size + 2], "big"))
    for (address, comment), hits in counts.items():
        start = int.from_bytes(address, "big")
        if len(address) != size or start & beyond:  # bits beyond the mask: no packet can match it
            members.foreign.append(f"{_shown(address)} in set {one.name}")
            continue
        target = compact_network(one.family, start, one.length)
        found = tuple(sorted(ports.get((address, comment), ())))
        members.take(one.kind, target, comment, found, hits, one.name)


def _shown(address: bytes) -> str:
    return str(ip_address(address)) if len(address) in (4, 16) else f"a key of {len(address)} bytes"


def _exception_slots(allow: Iterable[Network], proven: Iterable[Network]) -> Iterator[Slot]:
    for kind, networks in ((Kind.ALLOW, allow), (Kind.PROVEN, proven)):
        yield from ((exception_set(kind, network), str(network.network_address)) for network in networks)


def _element(key: str, ban: Ban, now: datetime, hits: Hits | None) -> str:
    counter = f" counter packets {hits.packets} bytes {hits.bytes}" if hits else ""
    return f'{key}{counter}{_timeout(ban, now)} comment "{member_comment(ban.id, ban.expires_at)}"'


def _timeout(ban: Ban, now: datetime) -> str:
    if ban.expires_at is None:
        return ""
    seconds, ms = divmod(math.ceil((ban.expires_at - now).total_seconds() * 1000) + _JIFFY_MS, 1000)
    return f" timeout {seconds // _DAY_S}d{seconds % _DAY_S}s{ms}ms"  # the tool takes eight digits of each unit


def _lines(verb: str, elements: Iterable[tuple[SetId, str]]) -> Iterator[str]:
    by_set: dict[SetId, list[str]] = defaultdict(list)
    for one, text in elements:
        by_set[one].append(text)
    for one, texts in by_set.items():
        yield from (f"{verb} element {TABLE} {one.name} {{ {part} }}" for part in _parts(texts))


def _parts(texts: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(texts), PER_LINE):
        yield ", ".join(texts[start : start + PER_LINE])
