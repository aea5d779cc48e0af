"""Bans and exceptions as members of ipsets: the lines that ``ipset restore`` takes and ``ipset save`` gives.

Pure text in both directions; `ipset.py` runs the tool.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Final

from synguard.addresses import Network, format_network
from synguard.enforcer.names import (
    FAMILIES,
    SET_NAMES,
    SPARE_SET,
    Family,
    Kind,
    exception_comment,
    family_of,
    kind_of,
    member_comment,
    parse_member,
    set_name,
    size_of,
)
from synguard.enforcer.plane import Actual, Delta
from synguard.memory import at_once
from synguard.model import NO_HITS, Ban, Hits, KernelBan
from synguard.network_words import network_of_word

MAX_ELEMENTS: Final = 131_072
"""Members a set may hold. More costs kernel memory (about 200 bytes each with comment), less turns bans away."""
LONGEST_TIMEOUT_S: Final = 2_147_483
"""The kernel keeps timeouts as 32-bit milliseconds: 24.8 days. A longer ban is renewed by the agent."""

_NAME_BY_SHAPE: Final = {shape: name for name, shape in SET_NAMES.items()}

_HEADER_LINE: Final = re.compile(r"^create (\S+) .*", re.MULTILINE)
_MEMBER_LINE: Final = re.compile(
    r"add (\S+) ([^,\s]+)(?:,tcp:(\d{1,5}))?(?: timeout \d+)?(?: packets (\d{1,20}) bytes (\d{1,20}))?"
    r"(?: comment \"(.*)\")?"
)


def create_line(kind: Kind, family: Family, name: str | None = None, most: int | None = None) -> str:
    """Return the line that creates a set for ``most`` members, under another name if one is given."""
    of = "hash:net,port" if kind.by_port else "hash:net"
    inet = "inet" if family == 4 else "inet6"
    size = most or MAX_ELEMENTS
    return f"create {name or set_name(kind, family)} {of} family {inet} maxelem {size} timeout 0 counters comment"


def frame_lines(
    present: Mapping[str, str],
    filling: Mapping[str, Sequence[str]] = {},  # read only
    most: int | None = None,
) -> Iterator[str]:
    """Yield what makes every set of the frame exist with the right parameters.

    ``present`` maps the name of each set there to its ``create`` line as read back. One with other parameters (made by
    an older release, or for fewer members than ``most``) is exchanged for a new one, which has been given what
    ``filling`` holds for it before: there is no moment in which rules have no set or an empty one.
    """
    for family in FAMILIES:
        for kind in Kind:
            name = set_name(kind, family)
            found = present.get(name)
            if found is None:
                yield create_line(kind, family, most=most)
            elif not fits(found, kind, family, most):
                yield create_line(kind, family, SPARE_SET, most)
                yield from (line.replace(name, SPARE_SET, 1) for line in filling.get(name, ()))
                yield f"swap {SPARE_SET} {name}"
                yield f"destroy {SPARE_SET}"


def lines_by_set(lines: Iterable[str]) -> dict[str, list[str]]:
    """Return set name → the lines that add to it."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        if line.startswith("add "):
            found[line.split(" ", 2)[1]].append(line)
    return found


def fits(found: str, kind: Kind, family: Family, most: int | None = None) -> bool:
    """Return whether a set's ``create`` line, as read back, has the parameters that we need; more room does no harm.

    Sample: ``create synguard-new-drop-4 hash:net family inet hashsize 1024 maxelem 131072 timeout 0 counters
    comment bucketsize 12 initval 0xddde7ecb``
    """
    words = found.split()
    wanted = create_line(kind, family).split()
    pairs = list(pairwise(words))
    return (
        words[2:5] == wanted[2:5]
        and any(word == "maxelem" and size_of(size) >= (most or MAX_ELEMENTS) for word, size in pairs)
        and ("timeout", "0") in pairs
        and {"counters", "comment"} <= set(words)
        and "forceadd" not in words
    )


def member_lines(change: Delta, now: datetime) -> Iterator[str]:
    """Yield the change as ``ipset restore`` lines: exceptions in, bans out, bans in, exceptions out.

    A member that is both removed and added is only updated, so that its target is stopped throughout; it keeps its
    counters as long as the ban is the same. Bans that have expired at ``now`` are not added.
    """
    yield from _exception_lines("add", Kind.ALLOW, change.allow_add)
    yield from _exception_lines("add", Kind.PROVEN, change.proven_add)
    before = {slot: held.ban_id for held in change.remove for slot in _slots(held)}
    adding: Iterable[tuple[Ban, list[tuple[str, str]]]] = ((ban, _slots(ban)) for ban in change.add if ban.active(now))
    if before:
        adding = [*adding]
        kept = {slot for _, slots in adding for slot in slots}
        for name, element in before.keys() - kept:
            yield f"del {name} {element}"
    for ban, slots in adding:
        tail = f'comment "{member_comment(ban.id, ban.expires_at)}"'
        timeout = _timeout_s(ban.expires_at, now)
        for slot in slots:
            fresh = " packets 0 bytes 0" if before and before.get(slot, ban.id) != ban.id else ""
            yield f"add {slot[0]} {slot[1]} timeout {timeout}{fresh} {tail}"
    yield from _exception_lines("del", Kind.PROVEN, change.proven_remove)
    yield from _exception_lines("del", Kind.ALLOW, change.allow_remove)


def _exception_lines(verb: str, kind: Kind, networks: Iterable[Network]) -> Iterator[str]:
    tail = f' timeout 0 comment "{exception_comment(kind)}"' if verb == "add" else ""
    for network in networks:
        yield f"{verb} {set_name(kind, family_of(network))} {format_network(network)}{tail}"


def _slots(ban: Ban | KernelBan) -> list[tuple[str, str]]:
    name = place(ban)[0]
    target = format_network(ban.target)
    return [(name, f"{target},tcp:{port}") for port in ban.ports] or [(name, target)]


def place(ban: Ban | KernelBan) -> tuple[str, int]:
    """Return the set that a ban's members are in, and how many it has."""
    return _NAME_BY_SHAPE[kind_of(ban), family_of(ban.target)], len(ban.ports) or 1


@lru_cache(maxsize=64)
def _timeout_s(expires_at: datetime | None, now: datetime) -> int:
    """Return whole seconds to the expiry, rounded up; 0, which is the kernel's "never", for a permanent ban only."""
    if expires_at is None:
        return 0
    return max(1, min(math.ceil((expires_at - now).total_seconds()), LONGEST_TIMEOUT_S))


@dataclass(slots=True)
class SetMembers:
    """What sets hold, of whichever plane."""

    bans: MutableMapping[str, KernelBan] = field(default_factory=dict)
    allow: set[Network] = field(default_factory=set)
    proven: set[Network] = field(default_factory=set)
    foreign: list[str] = field(default_factory=list)

    def take(self, kind: Kind, target: Network, comment: str, ports: tuple[int, ...], hits: Hits, where: str) -> None:
        """Note one group of members as a ban, an exception or a stranger; ``where`` is the set's name."""
        member = parse_member(comment)
        if kind.scope is not None and kind.action is not None and member is not None:
            ban_id, expires_at = member
            held = KernelBan(ban_id, target, kind.scope, kind.action, ports, expires_at, hits)
            held = replace(held, refuses_proven=True) if kind.refuses_proven else held
            while held.key in self.bans:  # an interrupted change left members behind: `delta` finds these unwanted
                held = replace(held, remains=max(held.remains + 1, 2))
            self.bans[held.key] = held
        elif kind.action is None and comment == exception_comment(kind):
            (self.allow if kind is Kind.ALLOW else self.proven).add(target)
        else:
            self.foreign.append(f"{format_network(target)} in set {where}")


@dataclass(slots=True)
class SavedSets(SetMembers):
    """What ``ipset save`` told of our sets."""

    most: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """Set name → its ``create`` line."""

    @property
    def unfit(self) -> list[str]:
        """Names of sets of the frame that are missing or have other parameters."""
        return [
            name
            for name, shape in SET_NAMES.items()
            if name not in self.headers or not fits(self.headers[name], *shape, self.most)
        ]

    def actual(self, missing: Iterable[str], foreign: Iterable[str]) -> Actual:
        """Return the read-back, together with what the chains reported."""
        gone = (*(f"set {name}" for name in self.unfit), *missing)
        return Actual(
            bans=self.bans,
            allow=frozenset(self.allow),
            proven=frozenset(self.proven),
            intact=not gone,
            missing=gone,
            foreign=(*self.foreign, *foreign),
            outdated=any(name in self.headers for name in self.unfit),
        )


_Group = tuple[str, str, str]
"""Set name, network as text, comment: a ban's members differ in the port alone, so most parsing is done once."""


PIECE: Final = 1_024
"""Lines, and bans, that are taken apart at one go: some tens of milliseconds."""


def parse_save(lines: Iterable[str], most: int | None = None) -> SavedSets:
    """Return what the lines of ``ipset save`` say of our sets; lines of other sets are passed over."""
    return at_once(parse_in_pieces(lines, SavedSets(most=most)))


def headers(text: str) -> dict[str, str]:
    """Return set name → ``create`` line, of what ``ipset save`` printed; members are not taken apart."""
    return {found[1]: found[0] for found in _HEADER_LINE.finditer(text)}


def parse_in_pieces(lines: Iterable[str], saved: SavedSets) -> Generator[None, None, SavedSets]:
    """Return the same, put into ``saved``, pausing after each ``PIECE``.

    Members of a set with foreign parameters are not read: the set is exchanged, and its bans put in anew. Sample::

        add synguard-port-drop-4 192.0.2.0/24,tcp:80 timeout 20 packets 5 bytes 60 comment "synguard ban 7f until …"
    """
    usable: set[str] = set()
    by_port: dict[_Group, tuple[list[int], Hits]] = {}
    for number, line in enumerate(lines, 1):
        if not number % PIECE:
            yield
        match = _MEMBER_LINE.match(line)
        if match is not None:
            name, network, port, packets, octets, comment = match.groups()
            if name in usable:
                group = (name, network, comment or "")
                hits = Hits(int(packets), int(octets or 0)) if packets and packets != "0" else NO_HITS
                if port:
                    ports, so_far = by_port.get(group, ([], NO_HITS))
                    ports.append(int(port))
                    by_port[group] = ports, so_far + hits if hits.packets else so_far
                else:
                    _take(saved, group, (), hits)
        elif line.startswith("create "):
            usable |= _take_header(saved, line)
    for number, (group, (ports, count)) in enumerate(by_port.items(), 1):
        if not number % PIECE:
            yield
        _take(saved, group, tuple(sorted(ports)), count)
    return saved


def _take_header(saved: SavedSets, line: str) -> set[str]:
    """Keep the header of a set that is ours; return its name if its members can be believed."""
    name = line.split(" ", 2)[1]
    if name not in SET_NAMES:
        return set()
    saved.headers[name] = line
    return {name} if fits(line, *SET_NAMES[name], saved.most) else set()


def _take(saved: SavedSets, group: _Group, ports: tuple[int, ...], hits: Hits) -> None:
    name, network, comment = group
    kind, family = SET_NAMES[name]
    try:
        target = network_of_word(network)
    except ValueError:
        target = None
    if target is None or target.version != family:  # nothing of ours looks so
        saved.foreign.append(f"{network[:60]} in set {name}")
        return
    saved.take(kind, target, comment, ports, hits, name)
