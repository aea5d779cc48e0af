"""The config of what the agent tells others: messages, metrics, its log."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Any, Final, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainSerializer, SecretStr, model_validator

from synguard.policy.values import Base, Duration, FilePath, Whole

MOST_URLS: Final = 8
_LONGEST_URL: Final = 2048
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}", re.ASCII)
_LISTEN: Final = re.compile(r"(?:(?P<four>[0-9.]+)|\[(?P<six>[0-9A-Fa-f:.]+)\]):(?P<port>\d{1,5})", re.ASCII)

EventWord = Literal[
    "incident", "digest", "suspended", "budget", "plane", "repairs", "leak", "unhealthy", "peer", "cookies"
]


def url_fault(url: str) -> str:
    """Return what is wrong with a service's URL, without a word of it, or nothing."""
    scheme, there, rest = url.partition("://")
    if not there or not _SCHEME.fullmatch(scheme) or not rest:
        return "is not a URL with a scheme, like https://… or mailto://…"
    if not url.isprintable() or " " in url:
        return "holds a space or a control character: write it as %20"
    if len(url) > _LONGEST_URL:
        return f"is longer than {_LONGEST_URL} characters"
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        named = scheme.lower() not in ("http", "https")
    return "" if named or scheme.lower() not in ("http", "https") else "names no host or no port that there is"


def listen_address(text: str) -> tuple[str, int] | None:
    """Return address and port of ``127.0.0.1:9877`` or ``[::1]:9877``; None for ``off``.

    Raises:
        ValueError: It is neither.
    """
    if text == "off":
        return None
    found = _LISTEN.fullmatch(text)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise ValueError(f'"{text[:60]}" is neither "off" nor an address and a port, like 127.0.0.1:9877 or [::1]:9877')
    address = found["four"] or found["six"]
    try:
        ip_address(address)
    except ValueError:
        raise ValueError(f'"{text[:60]}" holds no address: {address[:60]} is none') from None
    return address, int(found["port"])


def _url(value: Any) -> SecretStr:
    if isinstance(value, SecretStr):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a URL in quotes")
    fault = url_fault(value)
    if fault:
        raise ValueError(fault)
    return SecretStr(value)


def _urls(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):  # pydantic would repeat the value, which is secret
        raise ValueError("must be a list of URLs in quotes")
    return value


def _hidden(_: SecretStr) -> str:
    return "hidden://hidden"


Url = Annotated[
    SecretStr,
    BeforeValidator(_url),
    PlainSerializer(_hidden, return_type=str),
    Field(json_schema_extra={"form": "URL"}),
]


def _listen(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError('must be text, like "127.0.0.1:9877" or "off"')
    listen_address(value)
    return value


Listen = Annotated[str, BeforeValidator(_listen), Field(json_schema_extra={"form": "address and port, or `off`"})]


class Notify(Base):
    """Messages about attacks, and about states that an operator must know of once; see docs/alerts.md."""

    urls: Annotated[tuple[Url, ...], BeforeValidator(_urls)] = Field(
        (), max_length=MOST_URLS, description="services: https://… for JSON, mailto://… and others; hold secrets"
    )
    urls_file: FilePath | None = Field(
        None, description="a file of such URLs, one a line, that others may not read; # begins a comment"
    )
    webhook_key_file: FilePath | None = Field(
        None, description="a file with the key that JSON webhooks are signed with, that others may not read"
    )
    name: str = Field("", max_length=64, description="name of this host in messages; empty: its host name")
    events: tuple[EventWord, ...] = Field(get_args(EventWord), description="events that are sent")
    digest: Duration = Field(1800.0, ge=60, le=7 * 86400.0, description="time between messages while an attack lasts")
    quiet: Duration = Field(
        60.0,
        ge=0,
        le=86400,
        description="pause after which an attack is over; shorter pauses belong to the same attack",
    )
    per_hour: Whole = Field(12, ge=3, le=60, description="messages in any hour, to each service; the rest is summed up")
    unhealthy_for: Duration = Field(
        60.0, ge=5, le=86400, description="how long the agent must be unhealthy before a message is sent"
    )


class Metrics(Base):
    """Figures for Prometheus; see docs/metrics.md."""

    listen: Listen = Field("off", description="address and port to serve metrics at, like 127.0.0.1:9877")
    allow_remote: bool = Field(False, description="allow an address in listen that other hosts can reach")

    @model_validator(mode="after")
    def _remote_is_meant(self) -> Metrics:
        address = listen_address(self.listen)
        if address and not self.allow_remote and not ip_address(address[0]).is_loopback:
            raise ValueError(
                f"other hosts can reach {self.listen}, and everyone there reads the figures: "
                "set allow_remote = true if that is meant"
            )
        return self


class Log(Base):
    """The agent's log, on stderr; see docs/logs.md."""

    format: Literal["text", "json"] = Field(
        "text", description="text: for people and journald; json: one object a line with stable keys"
    )
