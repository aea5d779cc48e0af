"""Allow-list files: one address or prefix a line, ``#`` begins a comment that is kept as the reason."""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, ip_address
from itertools import islice
from pathlib import Path
from typing import Final

from synguard.addresses import Network, format_network, parse_network, range_cover
from synguard.errors import ConfigError

MAX_LINES: Final = 200_000
MAX_BYTES: Final = 16 * 1024 * 1024
"""Bounds on one file, which takes some 5 µs a line whenever it has changed: past them it is more likely a wrong path
than a list of friends, and the agent would stand still for seconds."""

_MAX_REASON: Final = 120
_MAX_FAULTS_SHOWN: Final = 50
_ZONE: Final = re.compile(r"%[^/]*")


class FaultyLinesError(ConfigError):
    """Some lines of an allow-list cannot be used."""

    def __init__(self, problems: Iterable[str], usable: dict[Network, str]) -> None:
        super().__init__(*problems)
        self.usable: Final = usable
        """Network → reason of the lines that can be used."""


@dataclass(frozen=True, slots=True)
class AllowEntry:
    """One address or prefix that is never banned."""

    network: Network
    reason: str
    """The comment behind it, at most 120 characters; empty where there is none."""
    line: int
    """Where it stands in its file, from 1."""


def read_allow_file(path: Path) -> list[AllowEntry]:
    r"""Return the entries of one file in its order; CRLF and a byte order mark are accepted.

    A sample: ``192.0.2.0/24  # monitoring\n\n# the office\n2001:db8:7::/48\n``.

    Raises:
        ConfigError: The file cannot be read, is too large, or has lines that cannot be used, each named as
            ``FILE:LINE`` with what to do.
    """
    _signature(path)
    return parse_allow_text(_text(path), str(path))


def read_allow_networks(path: Path) -> dict[Network, str]:
    """Return network → reason for one file, parsed again only when the file has changed; not to be modified.

    Raises:
        FaultyLinesError: Some lines cannot be used; it carries what the others say.
        ConfigError: Otherwise as ``read_allow_file``.
    """
    networks, faults = _networks(path, _signature(path))
    if faults:
        raise FaultyLinesError(faults, networks)
    return networks


def parse_allow_text(text: str, name: str) -> list[AllowEntry]:
    """Return the entries of an allow-list; ``name`` is how faults call it.

    Raises:
        ConfigError: Every fault at once, the first 50 in words.
    """
    entries, faults = _parsed(text, name)
    if faults:
        raise ConfigError(*faults)
    return entries


def _parsed(text: str, name: str) -> tuple[list[AllowEntry], list[str]]:
    """Return the lines that can be used, and a sentence for each of the first 50 that cannot.

    Raises:
        ConfigError: There are too many lines.
    """
    lines = text.removeprefix("\ufeff").split("\n")  # splitlines() would also split at form feeds within comments
    if len(lines) > MAX_LINES + 1:
        raise ConfigError(f"{name}: has more than {MAX_LINES} lines; allow the prefixes that cover them instead")
    entries: list[AllowEntry] = []
    faults: list[str] = []
    for number, line in enumerate(lines, 1):
        content, _, comment = line.partition("#")
        word = content.strip()
        if not word:
            continue
        try:
            entries.append(AllowEntry(_plain_ipv4(word) or _parse_entry(word), comment.strip()[:_MAX_REASON], number))
        except ValueError as error:
            faults.append(f"{name}:{number}: {error}")
    if len(faults) > _MAX_FAULTS_SHOWN:
        faults[_MAX_FAULTS_SHOWN:] = [f"{name}: and {len(faults) - _MAX_FAULTS_SHOWN} more lines that cannot be used"]
    return entries, faults


def _parse_entry(word: str) -> Network:
    if "-" in word:
        raise ValueError(_about_range(word))
    if len(word.split()) > 1:
        raise ValueError(f'"{word[:60]}" holds more than one word: write one address a line, comments behind #')
    return parse_network(_ZONE.sub("", word))


def _plain_ipv4(word: str) -> Network | None:
    """Return what most lines of a long list are, a lone IPv4 address, in a third of the time; None for all else."""
    try:
        return IPv4Network((socket.inet_pton(socket.AF_INET, word), 32))
    except (OSError, ValueError):
        return None


def _about_range(word: str) -> str:
    """Return what to write instead of a range, like ``192.0.2.1-192.0.2.6``."""
    shown = word[:90]
    try:
        first, last = (ip_address(end.strip()) for end in word.split("-"))
        cover = [format_network(network) for network in islice(range_cover(first, last), 9)]
    except ValueError:
        return f'"{shown}" is not an address or prefix: ranges are not understood, write prefixes like 192.0.2.0/24'
    if len(cover) > 8:
        return f'"{shown}" is a range: write the prefixes that cover it, one a line, beginning with {cover[0]}'
    return f'"{shown}" is a range: write the prefixes that cover it, one a line: {", ".join(cover)}'


def _signature(path: Path) -> tuple[int, ...]:
    """Return what changes when the file does."""
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigError(_unreadable(path, error)) from error
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path}: is not a regular file; name a text file of addresses")
    if found.st_mode & stat.S_IWOTH:
        raise ConfigError(f"{path}: every user may write to it, and so allow an attacker; `chmod o-w` it")
    if found.st_size > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_BYTES >> 20} MiB; allow the prefixes that cover it instead")
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@lru_cache(maxsize=64)
def _networks(path: Path, _signature: tuple[int, ...]) -> tuple[dict[Network, str], tuple[str, ...]]:
    entries, faults = _parsed(_text(path), str(path))
    networks = {
        entry.network: f"allow-list {path}: {entry.reason}" if entry.reason else f"allow-list {path}"
        for entry in entries
    }
    return networks, tuple(faults)


def _text(path: Path) -> str:
    try:
        # O_NONBLOCK: had the file been swapped for a pipe since, opening it must not hang the agent
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return file.read(MAX_BYTES + 1).decode("utf-8")
    except OSError as error:
        raise ConfigError(_unreadable(path, error)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start}); save it as plain text") from error


def _unreadable(path: Path, error: OSError) -> str:
    return f"{path}: the allow-list cannot be read ({error.strerror}); restore it or take it out of [allow] files"
