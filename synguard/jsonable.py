"""Values as JSON has them: networks and enumerations as text, times in RFC 3339, records as objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from synguard.addresses import format_network
from synguard.clock import rfc3339


def jsonable(value: Any) -> Any:
    """Return a value as JSON has it."""
    match value:
        case Enum():
            return value.value
        case datetime():
            return rfc3339(value)
        case IPv4Network() | IPv6Network():
            return format_network(value)
        case IPv4Address() | IPv6Address():
            return str(value)
        case Mapping():
            return {jsonable(key): jsonable(one) for key, one in value.items()}
        case tuple() | list() | frozenset():
            return [jsonable(one) for one in value]
    if is_dataclass(value):
        return {item.name: jsonable(getattr(value, item.name)) for item in fields(value)}
    return value


def fields_of(one: object, names: str) -> dict[str, Any]:
    """Return the named fields of a record, ``"id target scope"``, as JSON has them and in this order."""
    return {name: jsonable(getattr(one, name)) for name in names.split()}
