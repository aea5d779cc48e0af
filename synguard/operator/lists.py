"""Lists of addresses and prefixes, from a file or standard input: bounded, and every fault reported at once."""

from __future__ import annotations

import os
import re
import select
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from synguard.addresses import Network
from synguard.errors import NotPermittedError, SynguardError, UsageError
from synguard.network_words import network_of_word
from synguard.operator.list_formats import PLAIN, SEVERAL, Entry, format_of, json_entries
from synguard.plain import printable, some

STANDARD_INPUT: Final = Path("-")
STDIN_NAME: Final = "standard input"
MOST_BYTES: Final = 32 * 1024 * 1024
"""Bytes of one list; a million lines of addresses are half of it."""
MOST_LINES: Final = 1_000_000
SPLIT: Final = r"to get one per line: tr -s ' \t,;|' '\n' <LIST"
"""The command that puts what one line holds on lines of their own."""
FAULTS_SHOWN: Final = 20
"""Faulty lines that are named; the rest is a number."""
MOST_REASON: Final = 200
"""Characters of a comment that a ban keeps as its reason."""
SILENCE_S: Final = 30.0
"""How long a pipe may say nothing before it is given up."""

_CHUNK: Final = 1 << 20
_BARE: Final = re.compile(r"[0-9A-Fa-f:./]+", re.ASCII)
"""A line that is one address or prefix, if anything; as nearly all are."""
_WIDE: Final = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


class ListEntry(NamedTuple):
    """Where a target stands in a list, and the comment behind it."""

    name: str
    """The list."""
    at: int
    """Its line, or its position in a JSON array."""
    reason: str

    @property
    def where(self) -> str:
        """Both in one word: ``drop.txt:12``."""
        return f"{self.name}:{self.at}"


class NamedPlaces(Mapping[Network, str]):
    """Where each target stands in a list, in one word that is made when it is asked for."""

    def __init__(self, entries: Mapping[Network, ListEntry]) -> None:
        self._entries = entries

    def __getitem__(self, target: Network) -> str:
        return self._entries[target].where

    def __iter__(self) -> Iterator[Network]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


@dataclass(slots=True)
class BanList:
    """Targets in the order in which they were named, each once."""

    entries: dict[Network, ListEntry] = field(default_factory=dict)
    folded: int = 0
    """Lines that name a target which an earlier one had named."""
    formats: list[str] = field(default_factory=list)
    """What each list was read as, where that is not plain lines."""
    faults: list[str] = field(default_factory=list)
    """A sentence for each line that was left out."""

    @property
    def named(self) -> int:
        """How often a line named a target."""
        return len(self.entries) + self.folded

    def add(self, target: Network, entry: ListEntry) -> None:
        """Take in one line."""
        before = self.entries.setdefault(target, entry)
        if before is entry:
            return
        self.folded += 1
        if not before.reason and entry.reason:
            self.entries[target] = before._replace(reason=entry.reason)


def lists_of(words: Sequence[str], files: Sequence[Path]) -> list[Path]:
    """Return the lists that a command line names: its ``--file`` options, and ``-`` among its words."""
    return [*files, *(STANDARD_INPUT for word in words if word == "-")]


def read_lists(paths: Sequence[Path], *, skip_faulty: bool = False) -> BanList:
    """Return what all lists name; ``listing.faults`` has the lines that were left out where ``skip_faulty``.

    Plain lines of one address, prefix or range; ``#`` or ``;`` begins a comment, which is the reason of that line's
    ban; or another of the formats of ``list_formats``. A byte order mark, CRLF and CR are fine.

    Raises:
        UsageError: A line cannot be used, or a list is empty, too large, or no text; all faulty lines are named.
        NotPermittedError: A list may not be read by this user.
    """
    if paths.count(STANDARD_INPUT) > 1:
        raise UsageError("standard input can be one list only: name - once")
    listing = BanList()
    for path in paths:
        listing.faults += _take(listing, path, skip_faulty)
    if listing.faults and not skip_faulty:
        several = any(fault.endswith(SEVERAL) for fault in listing.faults)
        rest = [*([SPLIT] if several else []), "nothing was changed: correct these lines, or --skip-faulty"]
        raise UsageError("\n".join([*some(listing.faults, FAULTS_SHOWN), *rest]))
    return listing


def _take(listing: BanList, path: Path, skip_faulty: bool) -> list[str]:
    """Take in one list, and return a sentence for each line that cannot be used.

    Raises:
        UsageError: It names nothing.
    """
    faults: list[str] = []
    name, before = _name(path), listing.named
    for where, found in _entries(listing, path, name):
        if isinstance(found, ValueError):
            faults.append(f"{name}:{where}: {printable(str(found))}")
            continue
        for network, comment in found:
            reason = printable(comment[:MOST_REASON])[:MOST_REASON] if comment else ""
            listing.add(network, ListEntry(name, where, reason))
    if listing.named == before and (skip_faulty or not faults):
        raise UsageError("\n".join([f"{name} names no address or prefix", *faults[:FAULTS_SHOWN]]))
    return faults


def _entries(listing: BanList, path: Path, name: str) -> Iterator[tuple[int, list[Entry] | ValueError]]:
    """Yield (line, or position in a JSON array; what it names, or why it cannot be used) of what is more than a word.

    The lines that are one address or prefix and nothing else are taken in at once.
    """
    lines = list(_lines(path))
    if lines and lines[0][1].lstrip().startswith("["):
        listing.formats.append(f"{name}: read as JSON")
        try:
            yield from json_entries("\n".join(line for _, line in lines))
        except ValueError as error:
            raise UsageError(f"{name} {printable(str(error))}") from error
        return
    form = format_of([line for _, line in lines])
    if form.name:
        listing.formats.append(f"{name}: read as {form.name}")
    for number, line in _more_than_words(listing, lines, name) if form is PLAIN else lines:
        try:
            yield number, form.read(line)
        except ValueError as error:
            yield number, error


def _more_than_words(listing: BanList, lines: Iterable[tuple[int, str]], name: str) -> Iterator[tuple[int, str]]:
    """Take in the lines that are one address or prefix, as nearly all are; yield the others, each in its turn."""
    is_bare, put = _BARE.fullmatch, listing.entries.setdefault
    for number, line in lines:
        word = line.strip()
        try:
            network = network_of_word(word) if is_bare(word) else None
        except ValueError:
            network = None
        if network is None:
            yield number, line
        elif put(network, entry := ListEntry(name, number, "")) is not entry:
            listing.folded += 1


def text_of(path: Path) -> str:
    """Return the text of a file or of standard input; it waits for no pipe for ever.

    Raises:
        UsageError: It cannot be read, is too large, or is no text.
        NotPermittedError: This user may not read it.
    """
    data = _whole(path)
    if (wide := _WIDE.get(data[:2])) is not None:
        raise UsageError(f"{_name(path)} is {wide}: turn it into UTF-8, with iconv -f {wide} -t UTF-8")
    if b"\0" in data:
        raise UsageError(f"{_name(path)} is no text: a list has one address or prefix a line")
    return data.decode("utf-8-sig", errors="replace")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number, line) of those that are not blank; numbers are those that an editor shows."""
    text = text_of(path)
    if "\r" in text:  # of Windows, or alone of an old Mac
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.count("\n") > MOST_LINES:
        raise UsageError(f"{_name(path)} has more than {MOST_LINES:,} lines: split it, or ban wider prefixes")
    for number, line in enumerate(text.split("\n"), 1):
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


def tell_of_lists(listing: BanList) -> None:
    """Say on stderr what lists were read as, and which lines were left out."""
    left_out = [f"left out {line}" for line in some(listing.faults, FAULTS_SHOWN)]
    for line in (*listing.formats, *left_out):
        print(f"synguard: {line}", file=sys.stderr)
