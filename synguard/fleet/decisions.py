"""CrowdSec's stream of decisions, taken apart: ``GET /v1/decisions/stream``.

A sample, as CrowdSec 1.4.6 sends it (an empty list is ``null``)::

    {"deleted": [{"duration": "-34.7ms", "id": 1, "origin": "cscli", "scenario": "manual 'ban' from 'host1'",
                  "scope": "Ip", "type": "ban", "value": "203.0.113.9"}],
     "new": [{"duration": "3h59m59.02s", "id": 2, ..., "scope": "Range", "value": "203.0.113.77/24"}]}
"""

from __future__ import annotations

import json
import math
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv6Network, ip_network
from operator import itemgetter
from typing import Any, Final, NamedTuple

from synguard.addresses import EMBEDDING, format_network, unmapped_network, widest
from synguard.errors import FleetError
from synguard.fleet.durations import parse_go_duration
from synguard.plain import clipped, printable

SCOPES: Final = frozenset({"ip", "range"})
"""In lower case: CrowdSec streams ``Ip`` and ``Range``."""
_LISTS: Final = ("deleted", "new")
_URL: Final = "is this its URL?"
_OWN: Final = itemgetter("value", "duration")
_SHARED: Final = itemgetter("scope", "type", "scenario", "origin")
"""Words that thousands of decisions have in common."""
LONGEST_WORD: Final = 120
"""Characters that are kept of a scenario or an origin."""
LONGEST_S: Final = 366 * 86400.0
"""A decision that lasts longer is taken for this long; the next complete look prolongs it."""


class CrowdSecDecision(NamedTuple):
    """One decision of a CrowdSec local API about one address or prefix; light, since they come by the ten thousand."""

    target: str
    """As ``format_network`` writes it: ``192.0.2.7``, ``2001:db8::/64``."""
    kind: str
    """``ban``, ``captcha`` or another type of CrowdSec's."""
    reason: str
    """Its scenario and its origin: ``crowdsecurity/ssh-bf (CrowdSec, origin CAPI)``."""
    ends_at: int
    """UTC seconds since 1970, rounded up; 0 where it is over."""


@dataclass(frozen=True, slots=True)
class StreamAnswer:
    """One answer of the stream: what ended, what is new, and what could not be used."""

    deleted: frozenset[tuple[str, str]]
    """Target and type: a deletion means every decision of this type about the target."""
    new: tuple[CrowdSecDecision, ...]
    unusable: Mapping[str, int] = field(default_factory=dict)
    """Why a decision is not used → how many; reasons with none are absent."""

    def __bool__(self) -> bool:
        return bool(self.deleted or self.new)


def parse_stream(data: bytes, now: datetime, embedding: Iterable[IPv6Network] = EMBEDDING) -> StreamAnswer:
    """Return what one answer says at ``now``; addresses in ``embedding`` embed IPv4 ones.

    A single decision that makes no sense is counted and left out; the others hold.

    Raises:
        FleetError: The answer as a whole is not one of this interface.
    """
    try:
        answer = json.loads(data.decode(), object_hook=_reader(now.timestamp(), embedding))
        if not isinstance(answer, dict):
            raise ValueError("no object")
        lists = [[] if answer.get(name) is None else answer[name] for name in _LISTS]
        if not all(isinstance(one, list) for one in lists):
            raise ValueError("no list")
    except (ValueError, RecursionError) as error:
        raise FleetError(f"the answer of the CrowdSec local API is not a list of decisions: {_URL}") from error
    deleted, new = ([one for one in some if isinstance(one, CrowdSecDecision)] for some in lists)
    usable = tuple(one for one in new if one.ends_at)
    unusable = Counter(_fault(one) for some in lists for one in some if not isinstance(one, CrowdSecDecision))
    return StreamAnswer(frozenset((one.target, one.kind) for one in deleted), usable, dict(unusable))


def _reader(now_s: float, embedding: Iterable[IPv6Network]) -> Callable[[dict[str, Any]], object]:
    """Return what makes a decision of each object at once: tens of thousands of objects that wait are dearer to read.

    One with a fault becomes the fault, and what has other fields stays as it is.
    """
    read: dict[tuple[str, ...], tuple[str, str]] = {}

    def decision(item: dict[str, Any]) -> object:
        try:
            value, duration = _OWN(item)
            shared = _SHARED(item)
            words = read.get(shared)
            if words is None:
                words = read[shared] = _kind_and_reason(*shared)
            kind, reason = words
            target = _target(value, embedding)
            seconds = parse_go_duration(duration)
            ends_at = math.ceil(now_s + min(seconds, LONGEST_S)) if seconds > 0 else 0
            return CrowdSecDecision(target, kind, reason, ends_at)
        except _UnusableError as error:
            return _UnusableError(str(error))  # without the frames that it was raised in
        except ValueError:
            return _UnusableError("the duration cannot be read")
        except (LookupError, TypeError, AttributeError):
            return item

    return decision


def _fault(item: object) -> str:
    if isinstance(item, _UnusableError):
        return str(item)
    return "a field is missing or not text" if isinstance(item, dict) else "not an object"


class _UnusableError(Exception):
    pass


def _target(text: str, embedding: Iterable[IPv6Network]) -> str:
    """Return an address or prefix as we write it; an IPv4 address, as nearly all are, stands so already."""
    try:
        socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):  # an embedded null is a ValueError
        try:
            network = unmapped_network(ip_network("" if "%" in text else text.strip(), strict=False))
        except ValueError:
            raise _UnusableError("the value is not an address or prefix") from None
        if network.prefixlen < (most := widest(network, embedding)):
            raise _UnusableError(f"wider than /{most}") from None
        return format_network(network)
    return text


def _kind_and_reason(scope: str, kind: str, scenario: str, origin: str) -> tuple[str, str]:
    if scope.lower() not in SCOPES:
        raise _UnusableError(f"scope {clipped(printable(scope), 20)} is not Ip or Range")
    return _word(kind).lower(), f"{_word(scenario)} (CrowdSec, origin {_word(origin)})"


def _word(text: str) -> str:
    return clipped(printable(text), LONGEST_WORD)
