"""The config of the fleet: a CrowdSec local API, BGP speakers to announce to."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, SecretStr, model_validator

from synguard.policy.integrations import url_fault
from synguard.policy.values import Base, Duration, FilePath, NetworkText, Whole

_LONGEST_SECRET: Final = 1024


def _secret(value: Any) -> SecretStr:
    """Return a secret; a fault never repeats it."""
    if isinstance(value, SecretStr):
        return value
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_SECRET or not value.isprintable():
        raise ValueError("must be printable text in quotes")
    return SecretStr(value)


Secret = Annotated[
    SecretStr,
    BeforeValidator(_secret),
    PlainSerializer(lambda _: "hidden", return_type=str),
    Field(json_schema_extra={"form": "text"}),
]


def _base_url(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError('must be a URL in quotes, like "http://127.0.0.1:8080"')
    if value and (fault := url_fault(value)):
        raise ValueError(fault)
    if value and not value.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    if "@" in value:
        raise ValueError("holds a user name: name it in machine_id")
    return value.rstrip("/")


class CrowdSec(Base):
    """A CrowdSec local API: decisions in with an API key, alerts out as a machine; see docs/fleet.md."""

    url: Annotated[str, BeforeValidator(_base_url), Field(json_schema_extra={"form": "URL"})] = Field(
        "", description="URL of the local API, like http://127.0.0.1:8080; empty: none"
    )
    api_key: Secret | None = Field(None, description="the key that reads decisions; better in api_key_file")
    api_key_file: FilePath | None = Field(None, description="a file with the key, that others may not read")
    machine_id: str = Field(
        "", max_length=64, description="machine name under which this host sends alerts; empty: none"
    )
    password: Secret | None = Field(None, description="the password of machine_id; better in password_file")
    password_file: FilePath | None = Field(None, description="a file with the password, that others may not read")
    ca_file: FilePath | None = Field(None, description="certificates that the local API's is checked against")
    poll: Duration = Field(10.0, ge=1, le=3600, description="time between two requests for decisions")
    types: tuple[str, ...] = Field(("ban",), min_length=1, description="types of decisions that become bans here")
    at_most: Whole = Field(65_536, ge=1, le=1_000_000, description="most decisions to follow; of more, the longest")

    @model_validator(mode="after")
    def _parts_fit(self) -> CrowdSec:
        for one in ("api_key", "password"):
            if getattr(self, one) is not None and getattr(self, f"{one}_file") is not None:
                raise ValueError(f"{one} and {one}_file exclude each other: keep {one}_file")
        if (self.machine_id == "") != (self.password is None and self.password_file is None):
            raise ValueError("machine_id and its password (or password_file) belong together")
        if not self.url and (self.api_key or self.api_key_file or self.machine_id):
            raise ValueError("url is missing: where does the local API answer?")
        if self.url and not (self.api_key or self.api_key_file or self.machine_id):
            raise ValueError("api_key_file reads decisions and machine_id sends alerts: give one of them, or both")
        return self


class Bgp(Base):
    """A BGP speaker on this host that announces routes upstream; see docs/fleet.md."""

    speaker: Literal["off", "exabgp", "gobgp"] = Field(
        "off", description="which speaker takes routes: exabgp reads them from pipe, gobgp is asked by its command"
    )
    pipe: FilePath | None = Field(None, description="exabgp: the named pipe that one of its processes reads")
    destinations: tuple[NetworkText, ...] = Field(
        (), description="addresses of this host that routes are announced for; each route names one of them"
    )
    next_hop: str = Field("", max_length=45, description="next hop of blackholes, as the network upstream asks for")
    most_routes: Whole = Field(64, ge=1, le=1_000, description="routes announced at once; the worst first")
    sources: Literal["discard", "rate-limit", "off"] = Field(
        "off", description="what is asked for sources banned on handshake-proven evidence"
    )
    flood_above: Whole = Field(
        0,
        ge=0,
        le=1_000_000_000,
        description="SYN/s from which an attacked port's SYNs are limited upstream; 0: never",
    )
    rate_bytes: Whole = Field(
        1_000_000, ge=1_000, le=10_000_000_000, description="bytes a second that a rate limit lets through"
    )
    lifetime: Duration = Field(300.0, ge=10, le=86_400, description="longest time a route stands without new cause")

    @model_validator(mode="after")
    def _parts_fit(self) -> Bgp:
        if self.speaker == "exabgp" and self.pipe is None:
            raise ValueError("pipe is missing: the named pipe exabgp.in that ExaBGP reads")
        if self.speaker != "off" and not self.destinations:
            raise ValueError("destinations is missing: the addresses of this host that routes may be announced for")
        return self
