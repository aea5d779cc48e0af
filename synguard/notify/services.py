"""Where messages go: URLs from the config and from a file that others may not read, and how they are shown."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from synguard.errors import ConfigError
from synguard.notify.redaction import masked
from synguard.plain import clipped, printable
from synguard.policy.integrations import MOST_URLS, Notify, url_fault
from synguard.private import read_secret


@dataclass(frozen=True, slots=True)
class Service:
    """One place that messages go to; its URL is shown nowhere."""

    url: str
    number: int
    """Its place in the config, from 1: ``urls`` first, then the lines of ``urls_file``."""

    def __repr__(self) -> str:
        return f"Service({self.name!r})"

    @property
    def name(self) -> str:
        """What it is called in logs and answers, without anything secret: ``2 mailto://mx.example.org``."""
        return f"{self.number} {masked(self.url)}"


def load_services(settings: Notify) -> tuple[Service, ...]:
    """Return the services of a config, those of its file included.

    Raises:
        ConfigError: The file cannot be used, others may read it, or a line of it is no URL. No URL is in the text.
    """
    urls = [url.get_secret_value() for url in settings.urls]
    if settings.urls_file is not None:
        urls += _lines(settings.urls_file)
    if len(urls) > MOST_URLS:
        raise ConfigError(f"notify: {len(urls)} services are more than {MOST_URLS}: leave some out")
    return tuple(Service(url, number) for number, url in enumerate(urls, 1))


def load_key(settings: Notify) -> bytes | None:
    """Return the key that webhooks are signed with, or None where none is configured.

    Raises:
        ConfigError: The file cannot be used, or others may read it.
    """
    if settings.webhook_key_file is None:
        return None
    key = read_secret(settings.webhook_key_file).strip().encode()
    if not key:
        raise ConfigError(f"{settings.webhook_key_file}: holds no key; make one with: openssl rand -hex 32")
    return key


def _lines(path: Path) -> Iterable[str]:
    for number, line in enumerate(read_secret(path).splitlines(), 1):
        url = line.strip()
        if not url or url.startswith("#"):
            continue
        fault = url_fault(url)
        if fault:
            raise ConfigError(f"{path}: line {number}: {fault}")
        yield url


def host_name(settings: Notify) -> str:
    """Return how messages call this host."""
    return clipped(printable(settings.name or socket.gethostname()), 64)
