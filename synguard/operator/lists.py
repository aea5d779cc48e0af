"""Lists of addresses and prefixes, from a file or standard input: bounded, and every fault of them told at once."""

from __future__ import annotations

import os
import select
import socket
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final

from synguard.addresses import Network, parse_network
from synguard.errors import NotPermittedError, SynguardError, UsageError
from synguard.output.tables import printable

STANDARD_INPUT: Final = Path("-")
STDIN_NAME: Final = "standard input"
MOST_BYTES: Final = 32 * 1024 * 1024
"""Bytes of one list; a million lines of addresses are half of it."""
MOST_LINES: Final = 1_000_000
FAULTS_SHOWN: Final = 20
"""Faulty lines that are named; the rest is a number."""
MOST_REASON: Final = 200
"""Characters of a comment that a ban keeps as its reason."""
SILENCE_S: Final = 30.0
"""How long a pipe may say nothing before it is given up."""

_CHUNK: Final = 1 << 20
_MARKS: Final = ("#", ";")
"""What begins a comment; the second is what some published lists use."""
_WIDE: Final = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


@dataclass(frozen=True, slots=True)
class ListEntry:
    """Where a target stands in a list, and the comment behind it."""

    where: str
    reason: str


@dataclass(slots=True)
class BanList:
    """Targets in the order in which they were named, each once."""

    entries: dict[Network, ListEntry] = field(default_factory=dict)
    folded: int = 0
    """Lines that name a target which an earlier one had named."""

    def add(self, target: Network, entry: ListEntry) -> None:
        """Take in one line."""
        before = self.entries.get(target)
        if before is None:
            self.entries[target] = entry
            return
        self.folded += 1
        if not before.reason and entry.reason:
            self.entries[target] = ListEntry(before.where, entry.reason)


def lists_of(words: Sequence[str], files: Sequence[Path]) -> list[Path]:
    """Return the lists that a command line names: its ``--file`` options, and ``-`` among its words."""
    return [*files, *(STANDARD_INPUT for word in words if word == "-")]


def read_lists(paths: Sequence[Path]) -> BanList:
    """Return what all lists name.

    One address or prefix a line; ``#`` or ``;`` begins a comment, which is the reason of that line's ban; blank lines
    do not count. A byte order mark and CRLF are fine.

    Raises:
        UsageError: A line is neither, or a list is empty, too large, or no text; faulty lines are told together.
        NotPermittedError: A list may not be read by this user.
    """
    if paths.count(STANDARD_INPUT) > 1:
        raise UsageError("standard input can be one list only: name - once")
    listing = BanList()
    faults: list[str] = []
    for path in paths:
        before = len(listing.entries) + listing.folded + len(faults)
        for number, line in _lines(path):
            try:
                _take(listing, line, f"{_name(path)}:{number}")
            except ValueError as error:
                faults.append(f"{_name(path)}:{number}: {printable(str(error))}")
        if before == len(listing.entries) + listing.folded + len(faults):
            raise UsageError(f"{_name(path)} names no address or prefix")
    if faults:
        more = len(faults) - FAULTS_SHOWN
        rest = [f"and {more} more" if more > 0 else "", "nothing was changed: correct these lines"]
        raise UsageError("\n".join([*faults[:FAULTS_SHOWN], *filter(None, rest)]))
    return listing


def network_of_word(word: str) -> Network:
    """Return the address or prefix that a word means; most of them in a third of ``parse_network``'s time or less.

    Raises:
        ValueError: It is neither, or has bits beyond its prefix length.
    """
    host, slash, length = word.partition("/")
    six = ":" in host
    if not slash or (length.isascii() and length.isdigit()):
        try:
            packed = socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, host)
        except (OSError, ValueError):
            return parse_network(word)
        bits = 128 if six else 32
        prefixlen = int(length) if slash else bits
        start = int.from_bytes(packed, "big")
        mapped = six and start >> 32 == 0xFFFF
        if prefixlen <= bits and not mapped and not start & ((1 << (bits - prefixlen)) - 1):
            return IPv6Network((start, prefixlen)) if six else IPv4Network((start, prefixlen))
    return parse_network(word)


def _take(listing: BanList, line: str, where: str) -> None:
    cut = min((at for mark in _MARKS if (at := line.find(mark)) >= 0), default=len(line))
    word = line[:cut].strip()
    if not word:
        return
    comment = line[cut + 1 :].lstrip("#; \t").strip() if cut < len(line) else ""
    listing.add(network_of_word(word), ListEntry(where, printable(comment[:MOST_REASON])[:MOST_REASON]))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number, line) of those that are not blank; numbers are those that an editor shows."""
    data = _whole(path)
    if (wide := _WIDE.get(data[:2])) is not None:
        raise UsageError(f"{_name(path)} is {wide}: turn it into UTF-8, with iconv -f {wide} -t UTF-8")
    if b"\0" in data:
        raise UsageError(f"{_name(path)} is no text: a list has one address or prefix a line")
    if data.count(b"\n") > MOST_LINES:
        raise UsageError(f"{_name(path)} has more than {MOST_LINES:,} lines: split it, or ban wider prefixes")
    for number, line in enumerate(data.decode("utf-8-sig", errors="replace").split("\n"), 1):
        if line and not line.isspace():
            yield number, line


def _whole(path: Path) -> bytes:
    try:
        if path == STANDARD_INPUT:
            return _read(_stdin(), path)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return _read(descriptor, path)
        finally:
            os.close(descriptor)
    except PermissionError as error:
        raise NotPermittedError(f"{_name(path)} may not be read by this user; nothing was changed") from error
    except OSError as error:
        raise UsageError(f"{_name(path)} cannot be read: {error.strerror}; nothing was changed") from error


def _stdin() -> int:
    return sys.stdin.fileno()


def _read(descriptor: int, path: Path) -> bytes:
    """Return all that can be read, up to the bound; a pipe may take its time, but not for ever."""
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{_name(path)} is a directory: name a file")
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    patient = stat.S_ISREG(status.st_mode) or os.isatty(descriptor)
    parts: list[bytes] = []
    size = 0
    while size <= MOST_BYTES:
        if not patient and not poll.poll(SILENCE_S * 1000):
            raise SynguardError(f"nothing came from {_name(path)} for {SILENCE_S:g} s; nothing was changed")
        part = os.read(descriptor, _CHUNK)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
    raise UsageError(f"{_name(path)} is larger than {MOST_BYTES >> 20} MiB: split it, or ban wider prefixes")


def _name(path: Path) -> str:
    return STDIN_NAME if path == STANDARD_INPUT else printable(str(path))


def some(lines: Iterable[str], at_most: int = FAULTS_SHOWN) -> list[str]:
    """Return the first lines, and one that tells how many more there are."""
    every = list(lines)
    more = len(every) - at_most
    return [*every[:at_most], f"and {more:,} more"] if more > 0 else every
