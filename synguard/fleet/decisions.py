"""CrowdSec's stream of decisions, taken apart: ``GET /v1/decisions/stream``.

A sample, as CrowdSec 1.4.6 sends it (an empty list is ``null``)::

    {"deleted": [{"duration": "-34.7ms", "id": 1, "origin": "cscli", "scenario": "manual 'ban' from 'host1'",
                  "scope": "Ip", "type": "ban", "value": "203.0.113.9"}],
     "new": [{"duration": "3h59m59.02s", "id": 2, ..., "scope": "Range", "value": "203.0.113.77/24"}]}
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any, Final

from synguard.addresses import WIDEST_BY_VERSION, Network, unmapped_network
from synguard.errors import FleetError
from synguard.fleet.durations import parse_go_duration
from synguard.plain import clipped, printable

SCOPES: Final = frozenset({"ip", "range"})
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


def parse_stream(data: bytes, now: datetime) -> StreamAnswer:
    """Return what one answer says at ``now``.

    A single decision that makes no sense is counted and left out; the others hold.

    Raises:
        FleetError: The answer as a whole is not one of this interface.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FleetError("the answer of the CrowdSec local API is not JSON; is this its URL?") from error
    if not isinstance(document, dict):
        raise FleetError("the answer of the CrowdSec local API is not an object; is this its URL?")
    unusable: Counter[str] = Counter()
    deleted = frozenset((one.target, one.kind) for one in _decisions(document, "deleted", now, unusable))
    new = tuple(one for one in _decisions(document, "new", now, unusable) if one.ends_at > now)
    return StreamAnswer(deleted, new, dict(unusable))


def _decisions(
    document: Mapping[str, Any], name: str, now: datetime, unusable: Counter[str]
) -> Iterable[CrowdSecDecision]:
    items = document.get(name)
    if items is None:
        return
    if not isinstance(items, list):
        raise FleetError(f'the answer of the CrowdSec local API has no list named "{name}"; is this its URL?')
    for item in items:
        try:
            yield _decision(item, now)
        except _UnusableError as error:
            unusable[str(error)] += 1


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
        target = unmapped_network(ip_network(words["value"].strip(), strict=False))
    except ValueError:
        raise _UnusableError("the value is not an address or prefix") from None
    if target.prefixlen < WIDEST_BY_VERSION[target.version]:
        raise _UnusableError(f"wider than /{WIDEST_BY_VERSION[target.version]}")
    try:
        seconds = parse_go_duration(words["duration"])
    except ValueError:
        raise _UnusableError("the duration cannot be read") from None
    return CrowdSecDecision(
        target=target,
        kind=words["type"].lower(),
        ends_at=now + timedelta(seconds=max(min(seconds, LONGEST_S), -LONGEST_S)),
        scenario=_word(words["scenario"]),
        origin=_word(words["origin"]),
    )


def _word(text: str) -> str:
    return clipped(printable(text), LONGEST_WORD)
