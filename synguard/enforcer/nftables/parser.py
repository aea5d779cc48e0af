"""What is there of our table's frame, as the kernel tells it.

The kernel is asked for our own table alone, and for what things are, not for their text: listings differ between
releases of the ``nft`` tool, and one of them may fail at somebody else's table.
"""

from __future__ import annotations

import socket
import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from synguard.enforcer.names import is_ours
from synguard.enforcer.nftables.layout import (
    BASES,
    CHAINS,
    FIXED,
    MAX_ELEMENTS,
    NAME,
    TABLE,
    FixedRule,
    SetId,
    set_id,
)
from synguard.enforcer.nftables.netlink import BODY, TRIES, ask, channel, comment_in
from synguard.errors import ChangedUnderneathError
from synguard.netlink import attribute, attributes, spans

_GETTABLE, _GETCHAIN, _GETRULE, _GETSET, _GETGEN, _GETOBJ, _GETFLOWTABLE = 1, 4, 7, 10, 16, 19, 23
_OF_TABLE: Final = attribute(1, NAME.encode() + b"\0")
"""``NFTA_…_TABLE`` of a question: its number is the same for rules, sets, objects and flowtables."""
_TABLE_NAME, _TABLE_FLAGS = 1, 2
_CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE = 3, 4, 5, 7
_HOOK_NUMBER, _HOOK_PRIORITY = 1, 2
_RULE_CHAIN, _RULE_HANDLE, _RULE_USERDATA = 2, 3, 7
_SET_NAME, _SET_FLAGS, _SET_KEY_TYPE, _SET_DESC, _SET_TIMEOUT, _SET_EXPR, _SET_EXPRS = 2, 3, 4, 9, 11, 17, 18
_DESC_SIZE: Final = 1
_EXPR_NAME: Final = 1
_NAME_OF, _OBJ_TYPE = 2, 3  # NFTA_OBJ_NAME, which is NFTA_FLOWTABLE_NAME too
_OBJECTS: Final[Mapping[int, str]] = {1: "counter", 2: "quota", 4: "limit"}
_ANONYMOUS, _MAP, _TIMEOUT = 0x01, 0x08, 0x10
_MEANING: Final = 0x7F
"""Flags of a set that say what it is; those above tell how its expressions and its key are handed over."""
_HOOKS: Final[Mapping[str, int]] = {"prerouting": 0, "input": 1, "forward": 2}
_ACCEPT: Final = 1
_IPV4, _IPV6, _SERVICE = 7, 8, 13
"""nft's numbers for the types of keys; those of a concatenation stand side by side, six bits each."""
_U32: Final = struct.Struct(">I")
_U64: Final = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class FoundRule:
    """One rule of ours as it was found."""

    handle: int
    comment: str


@dataclass(slots=True)
class TableFrame:
    """What is there of table, chains, rules and sets."""

    present: bool = False
    """Whether the table is there."""
    unfit: list[str] = field(default_factory=list)
    """What has other parameters than ours: the table is then made anew, in one transaction with all members."""
    chains: set[str] = field(default_factory=set)
    rules: dict[str, list[FoundRule]] = field(default_factory=lambda: defaultdict(list))
    """Chain → rules of ours in it, in order."""
    sets: set[SetId] = field(default_factory=set)
    foreign: list[str] = field(default_factory=list)
    most: int | None = None
    """Members that a set is meant for; None for the usual."""

    @property
    def missing(self) -> tuple[str, ...]:
        """What is missing or out of place, one phrase each."""
        if not self.present:
            return (f"table {TABLE}",)
        if self.unfit:
            return tuple(f"table {TABLE}: {what} is not as it should be" for what in self.unfit)
        gone = [f"chain {chain} of table {TABLE}" for chain in CHAINS if chain not in self.chains]
        return (*gone, *(f"the rules of chain {chain} or their order" for chain in CHAINS if self._is_wrong(chain)))

    def _is_wrong(self, chain: str) -> bool:
        if chain not in self.chains:
            return False
        found = [rule.comment for rule in self.rules[chain]]
        wanted = [rule.comment for rule in self.wanted_rules(chain)]
        return found != wanted if chain in FIXED else sorted(found) != sorted(wanted)

    def wanted_rules(self, chain: str, coming: Iterable[SetId] = ()) -> tuple[FixedRule, ...]:
        """Return the rules that belong into a chain, once the ``coming`` sets are there too."""
        if chain in FIXED:
            return FIXED[chain]
        return tuple(one.rule for one in sorted({*self.sets, *coming}) if one.chain == chain)


def read_frame(most: int | None = None) -> TableFrame:
    """Return what is there of the frame, whose sets are meant for ``most`` members.

    Raises:
        ChangedUnderneathError: Others kept changing nf_tables all the time.
        NotPermittedError: The process lacks CAP_NET_ADMIN.
        PlaneError: The kernel could not be asked.
    """
    with channel() as there:
        for _ in range(TRIES):
            frame = _whole(there, most)
            if frame is not None:
                return frame
    raise ChangedUnderneathError(f"reading table {TABLE}", f"nf_tables changed under each of {TRIES} attempts")


def _whole(there: socket.socket, most: int | None) -> TableFrame | None:
    """Return the frame as it is at one moment; None where nf_tables changed meanwhile."""
    before = ask(there, _GETGEN, flags=0).bodies
    tables = ask(there, _GETTABLE)
    answers = [tables]
    frame = frame_of(tables.bodies, most)
    if frame.present:
        for message, take in _TAKERS:
            answer = ask(there, message, b"" if message == _GETCHAIN else _OF_TABLE)
            answers.append(answer)
            for body in answer.bodies:
                take(frame, body)
    same = ask(there, _GETGEN, flags=0).bodies == before
    return frame if same and not any(answer.interrupted for answer in answers) else None


def frame_of(tables: Iterable[bytes], most: int | None = None) -> TableFrame:
    """Return an empty frame that knows whether our table is among those of the ``inet`` family."""
    frame = TableFrame(most=most)
    for body in tables:
        found = _fields(body)
        if _text(found, _TABLE_NAME) == NAME:
            frame.present = True
            if _number(found, _TABLE_FLAGS) & 1:  # dormant: all is there and nothing works
                frame.unfit.append("it is dormant")
    return frame


def take_chain(frame: TableFrame, body: bytes) -> None:
    """Note one chain of the ``inet`` family, if it is in our table."""
    found = _fields(body)
    name = _text(found, _CHAIN_NAME)
    if _text(found, 1) != NAME:
        return
    if name not in CHAINS:
        frame.foreign.append(f"chain {name} of table {TABLE}")
        return
    frame.chains.add(name)
    hook = _fields(found.get(_CHAIN_HOOK, b""), 0)
    base = (
        _text(found, _CHAIN_TYPE),
        _number(hook, _HOOK_NUMBER),
        _number(hook, _HOOK_PRIORITY),
        _number(found, _CHAIN_POLICY),
    )
    if bool(hook) != (name in BASES) or (name in BASES and base != _base(name)):
        frame.unfit.append(f"chain {name}")


def take_rule(frame: TableFrame, body: bytes) -> None:
    """Note one rule of our table."""
    found = _fields(body)
    chain, handle = _text(found, _RULE_CHAIN), _number(found, _RULE_HANDLE)
    userdata = found.get(_RULE_USERDATA, b"")
    comment = comment_in(userdata, 0, len(userdata))
    if chain in CHAINS and is_ours(comment):
        frame.rules[chain].append(FoundRule(handle, comment))
    elif chain in CHAINS:
        said = f' "{comment}"' if comment else ""
        frame.foreign.append(f"rule{said} with handle {handle} of chain {chain} of table {TABLE}")


def take_set(frame: TableFrame, body: bytes) -> None:
    """Note one set of our table; anonymous ones belong to rules."""
    found = _fields(body)
    name, flags = _text(found, _SET_NAME), _number(found, _SET_FLAGS)
    one = set_id(name)
    if flags & _ANONYMOUS:
        return
    if one is None:
        frame.foreign.append(f"{'map' if flags & _MAP else 'set'} {name} of table {TABLE}")
    elif is_as_created(one, found, frame.most):
        frame.sets.add(one)
    else:
        frame.unfit.append(f"set {name}")


def is_as_created(one: SetId, found: Mapping[int, bytes], most: int | None = None) -> bool:
    """Return whether a set is what we create; more room than for ``most`` does no harm."""
    size = _number(_fields(found.get(_SET_DESC, b""), 0), _DESC_SIZE)
    return (
        _number(found, _SET_FLAGS) & _MEANING == _TIMEOUT
        and _number(found, _SET_KEY_TYPE) == _key_type(one)
        and not _number(found, _SET_TIMEOUT)
        and _expressions(found) == ["counter"]
        and size >= (most or MAX_ELEMENTS)
    )


def _take_object(frame: TableFrame, body: bytes) -> None:
    found = _fields(body)
    kind = _OBJECTS.get(_number(found, _OBJ_TYPE), "object")
    frame.foreign.append(f"{kind} {_text(found, _NAME_OF)} of table {TABLE}")


def _take_flowtable(frame: TableFrame, body: bytes) -> None:
    frame.foreign.append(f"flowtable {_text(_fields(body), _NAME_OF)} of table {TABLE}")


_TAKERS: Final = (
    (_GETCHAIN, take_chain),
    (_GETSET, take_set),
    (_GETRULE, take_rule),
    (_GETOBJ, _take_object),
    (_GETFLOWTABLE, _take_flowtable),
)


def _key_type(one: SetId) -> int:
    address = _IPV4 if one.family == 4 else _IPV6
    return address << 6 | _SERVICE if one.kind.by_port else address


def _expressions(found: Mapping[int, bytes]) -> list[str]:
    """Return the names of what each element of a set carries: in one attribute, or in a list of several."""
    single = [found[_SET_EXPR]] if _SET_EXPR in found else []
    listed = found.get(_SET_EXPRS, b"")
    several = [listed[start:end] for _, start, end in spans(listed, 0, len(listed))]
    return [_text(_fields(one, 0), _EXPR_NAME) for one in (single or several)]


def _base(chain: str) -> tuple[str, int, int, int]:
    hook, priority = BASES[chain]
    return "filter", _HOOKS[hook], priority & 0xFFFF_FFFF, _ACCEPT


def _fields(body: bytes, start: int = BODY) -> dict[int, bytes]:
    """Return attribute → value of one message, or of what is nested in it."""
    return dict(attributes(body, start))


def _text(found: Mapping[int, bytes], kind: int) -> str:
    return found.get(kind, b"").rstrip(b"\0").decode(errors="replace")


def _number(found: Mapping[int, bytes], kind: int) -> int:
    """Return a number of 32 or 64 bits; 0 where it is absent."""
    raw = found.get(kind, b"")
    size = len(raw)
    return _U32.unpack(raw)[0] if size == _U32.size else _U64.unpack(raw)[0] if size == _U64.size else 0
