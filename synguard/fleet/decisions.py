"""CrowdSec's stream of decisions, taken apart: ``GET /v1/decisions/stream``.

A sample, as CrowdSec 1.4.6 sends it (an empty list is ``null``)::

    {"deleted": [{"duration": "-34.7ms", "id": 1, "origin": "cscli", "scenario": "manual 'ban' from 'host1'",
                  "scope": "Ip", "type": "ban", "value": "203.0.113.9"}],
     "new": [{"duration": "3h59m59.02s", "id": 2, ..., "scope": "Range", "value": "203.0.113.77/24"}]}
"""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from ipaddress import IPv4Network, ip_network
from typing import Any, Final

from synguard.addresses import Network, unmapped_network, widest
from synguard.errors import FleetError
from synguard.fleet.durations import parse_go_duration
from synguard.plain import clipped, printable

SCOPES: Final = frozenset({"ip", "range"})
_LISTS: Final = ("deleted", "new")
_BLANKS: Final = frozenset(" \t\r\n")
_READ: Final = json.JSONDecoder().raw_decode
_URL: Final = "is this its URL?"
_WORDS: Final = ("value", "scope", "type", "duration", "scenario", "origin")
LONGEST_WORD: Final = 120
"""Characters that are kept of a scenario or an origin."""
LONGEST_S: Final = 366 * 86400.0
"""A decision that lasts longer is taken for this long; the next complete look prolongs it."""


@dataclass(frozen=True, slots=True)
class CrowdSecDecision:
    """One decision of a CrowdSec local API about one address or prefix."""

    target: Network
    kind: str
    """``ban``, ``captcha`` or another type of CrowdSec's."""
    ends_at: datetime
    scenario: str
    origin: str


@dataclass(frozen=True, slots=True)
class StreamAnswer:
    """One answer of the stream: what ended, what is new, and what could not be used."""

    deleted: frozenset[tuple[Network, str]]
    """Target and type: a deletion means every decision of this type about the target."""
    new: tuple[CrowdSecDecision, ...]
    unusable: Mapping[str, int] = field(default_factory=dict)
    """Why a decision is not used → how many; reasons with none are absent."""

    def __bool__(self) -> bool:
        return bool(self.deleted or self.new)


def parse_stream(data: bytes, now: datetime) -> StreamAnswer:
    """Return what one answer says at ``now``.

    A single decision that makes no sense is counted and left out; the others hold.

    Raises:
        FleetError: The answer as a whole is not one of this interface.
    """
    unusable: Counter[str] = Counter()
    deleted: list[CrowdSecDecision] = []
    new: list[CrowdSecDecision] = []
    lists = {"deleted": deleted, "new": new}
    try:
        for name, item in _items(data.decode()):
            try:
                lists[name].append(_decision(item, now))
            except _UnusableError as error:
                unusable[str(error)] += 1
    except (ValueError, RecursionError) as error:
        raise FleetError(f"the answer of the CrowdSec local API is not a list of decisions: {_URL}") from error
    usable = tuple(one for one in new if one.ends_at > now)
    return StreamAnswer(frozenset((one.target, one.kind) for one in deleted), usable, dict(unusable))


def _items(text: str) -> Iterator[tuple[str, Any]]:
    """Yield each decision with the name of its list, taken apart one by one.

    Read as a whole, 50,000 of them would hold the interpreter, and the tick with it, for a tenth of a second.

    Raises:
        ValueError: The text is no object, or one of the two is no list.
    """
    at = _after("{", text, 0)
    while text[at : at + 1] != "}":
        name, at = _READ(text, _blank(text, at))
        at = _after(":", text, at)
        if name in _LISTS and text[at : at + 1] == "[":
            at = _after("[", text, at)
            while text[at : at + 1] != "]":
                item, at = _READ(text, at)
                yield name, item
                at = _next(text, at, "]")
            at += 1
        else:
            value, at = _READ(text, at)
            if name in _LISTS and value is not None:
                raise ValueError(f"{name} is no list")
        at = _next(text, at, "}")
    if _blank(text, at + 1) != len(text):
        raise ValueError("more follows")


def _next(text: str, at: int, end: str) -> int:
    """Return where the next item begins, or where ``end`` stands."""
    at = _blank(text, at)
    if text[at : at + 1] == end:
        return at
    at = _after(",", text, at)
    if text[at : at + 1] == end:
        raise ValueError("a comma before the end")
    return at


def _after(mark: str, text: str, at: int) -> int:
    """Return where the text goes on after a mark and the blanks around it."""
    at = _blank(text, at)
    if text[at : at + 1] != mark:
        raise ValueError(f"no {mark} at {at}")
    return _blank(text, at + 1)


def _blank(text: str, at: int) -> int:
    while text[at : at + 1] in _BLANKS:
        at += 1
    return at


class _UnusableError(Exception):
    pass


def _decision(item: Any, now: datetime) -> CrowdSecDecision:
    if not isinstance(item, dict):
        raise _UnusableError("not an object")
    words: dict[str, str] = {name: item[name] for name in _WORDS if isinstance(item.get(name), str)}
    if len(words) < len(_WORDS):
        raise _UnusableError("a field is missing or not text")
    if words["scope"].lower() not in SCOPES:
        raise _UnusableError(f"scope {clipped(printable(words['scope']), 20)} is not Ip or Range")
    try:
        target = _target(words["value"].strip())
    except ValueError:
        raise _UnusableError("the value is not an address or prefix") from None
    if target.prefixlen < widest(target):
        raise _UnusableError(f"wider than /{widest(target)}")
    try:
        seconds = parse_go_duration(words["duration"])
    except ValueError:
        raise _UnusableError("the duration cannot be read") from None
    return CrowdSecDecision(
        target=target,
        kind=_word(words["type"].lower()),
        ends_at=now + timedelta(seconds=max(min(seconds, LONGEST_S), -LONGEST_S)),
        scenario=_word(words["scenario"]),
        origin=_word(words["origin"]),
    )


def _target(text: str) -> Network:
    """Return the network of an address or prefix; an IPv4 address, as nearly all are, in a fifth of the time."""
    try:
        return IPv4Network((int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big"), 32))
    except (OSError, ValueError):  # an embedded null is a ValueError
        return unmapped_network(ip_network(text, strict=False))


@lru_cache(maxsize=1024)
def _word(text: str) -> str:
    return clipped(printable(text), LONGEST_WORD)
