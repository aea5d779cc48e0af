"""Named sets and maps of nftables, put into the rules that name them, as if they stood there; no I/O. Sample::

    {"map": {"family": "inet", "table": "fw", "name": "states", "type": "ct_state", "map": "verdict",
     "elem": [["new", {"drop": null}], ["established", {"accept": null}]]}}

Those with addresses may be very long, and what they ask is not known beforehand anyway: they are left as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

_ADDRESSES: Final = frozenset({"ipv4_addr", "ipv6_addr", "ether_addr"})

Contents = Mapping[str, list[Any]]
"""Name of a set or map → its elements."""


def short_sets(listing: str) -> list[tuple[str, str]]:
    """Return kind (``set`` or ``map``) and name of those in the listing of one table that hold no addresses.

    Raises:
        ValueError: It is no such listing.
    """
    return [
        (kind, found["name"])
        for kind, found in _entries(listing)
        if kind in ("set", "map") and _ADDRESSES.isdisjoint(_types(found))
    ]


def contents_of(listings: Iterable[str]) -> Contents:
    """Return what the sets and maps of these listings hold.

    Raises:
        ValueError: One is no such listing.
    """
    return {
        found["name"]: found.get("elem", [])
        for listing in listings
        for kind, found in _entries(listing)
        if kind in ("set", "map")
    }


def with_contents(listing: str, contents: Contents) -> str:
    """Return the listing of a table with each name of a set or map in its rules replaced by what that holds."""
    document = json.loads(listing)
    for entry in document["nftables"]:
        if "rule" in entry:
            entry["rule"]["expr"] = _filled(entry["rule"]["expr"], contents)
    return json.dumps(document)


def _entries(listing: str) -> Iterable[tuple[str, Any]]:
    return (one for entry in json.loads(listing)["nftables"] for one in entry.items())


def _types(found: Mapping[str, Any]) -> Iterable[str]:
    kinds = found["type"]
    return [kinds] if isinstance(kinds, str) else [str(one) for one in kinds]


def _filled(value: Any, contents: Contents) -> Any:
    if isinstance(value, str) and value.startswith("@") and value[1:] in contents:
        return {"set": contents[value[1:]]}
    if isinstance(value, list):
        return [_filled(one, contents) for one in value]
    if isinstance(value, dict):
        return {key: _filled(one, contents) for key, one in value.items()}
    return value
