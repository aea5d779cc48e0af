"""How a value is written in a config or policy file, as pydantic types; models are made of these."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Network
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    model_validator,
)

from synguard.addresses import Network, parse_network
from synguard.units import exact_duration, parse_duration, parse_ports


def _seconds(value: Any) -> float:
    if not isinstance(value, str):
        raise ValueError(f'{value!r} has no unit: write "30s", "10m" or "1h"')
    return parse_duration(value)


def _ports(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError('ports are written as text: "any", "22", "80,443" or "8000-8100"')
    parse_ports(value)
    return value


def _network(value: Any) -> Network:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not an address or prefix, like 192.0.2.7 or 2001:db8::/64")
    return parse_network(value)


def _path(value: Any) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError(f"{value!r} is not a path, like /etc/synguard/allow.txt")
    return Path(value)


def _name(value: str) -> str:
    if not value.replace("-", "").replace("_", "").isalnum() or not value.isascii():
        raise ValueError(f'"{value}" is not a name: use letters, digits, - and _')
    return value


def _form(word: str) -> Any:
    """Return what tells the reference page how a value is written."""
    return Field(json_schema_extra={"form": word})


Duration = Annotated[
    float, BeforeValidator(_seconds), PlainSerializer(exact_duration, return_type=str), _form("duration")
]
Ports = Annotated[str, BeforeValidator(_ports), _form("ports")]


def _pref64(value: Any) -> IPv6Network:
    network = _network(value)
    if not isinstance(network, IPv6Network) or network.prefixlen != 96:
        raise ValueError(
            f"{value} is no IPv6 /96, like 2001:db8:64::/96: IPv4 addresses are read from the last 32 bits"
        )
    return network


Pref64 = Annotated[
    IPv6Network, BeforeValidator(_pref64), PlainSerializer(str, return_type=str), _form("IPv6 prefix of length 96")
]
NetworkText = Annotated[
    Network, BeforeValidator(_network), PlainSerializer(str, return_type=str), _form("address or prefix")
]
Name = Annotated[str, Field(min_length=1, max_length=32), AfterValidator(_name)]
Number = Annotated[float, Strict()]
"""A TOML number; neither text nor true."""
Whole = Annotated[int, Strict()]
Limit = Annotated[Number, Field(gt=0, le=10_000_000)]
FilePath = Annotated[Path, BeforeValidator(_path), _form("path")]


class Base(BaseModel):
    """A table of a file: nothing unknown in it, and nothing changes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    retired: ClassVar[frozenset[str]] = frozenset()
    """Keys of earlier releases that are accepted and do nothing."""

    @model_validator(mode="before")
    @classmethod
    def _without_retired_keys(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or cls.retired.isdisjoint(given):
            return given
        return {key: value for key, value in given.items() if key not in cls.retired}
