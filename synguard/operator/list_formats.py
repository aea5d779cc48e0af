"""What a list of addresses is written as: plain lines, columns, JSON, or what `ipset save` prints; found by looking.

Samples::

    203.0.113.7                       203.0.113.0/24 ; SBL1            192.0.2.1-192.0.2.9   # a range
    first_seen,ip,port                {"cidr": "203.0.113.0/24"}       add bad 203.0.113.7 timeout 60 comment "ssh"
"""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import islice
from typing import Any, Final

from synguard.addresses import Network, range_cover
from synguard.network_words import network_of_word

PROBE_LINES: Final = 50
"""Lines that are looked at to find the format."""
_BETWEEN: Final = re.compile(r"[\s,;|]+")
MOST_OF_RANGE: Final = 32
"""Prefixes that one range may become."""

_MARKS: Final = ("#", ";")
"""What begins a comment; the second is what some published lists use."""
_KEYS: Final = ("cidr", "ip", "address", "network", "prefix", "ip_prefix", "ipv6_prefix", "value", "range", "source_ip")
"""Keys under which published JSON lists name an address, the most telling first."""
_NOTES: Final = ("comment", "reason", "description", "sblid", "scenario")
_DELIMITERS: Final = (",", "\t", ";", "|")

SEVERAL: Final = "names several addresses: write one per line"

Entry = tuple[Network, str]
"""A network and the comment on it, empty where there is none."""


@dataclass(frozen=True, slots=True)
class ListFormat:
    """How the lines of one list are read."""

    name: str
    """What an operator calls it; empty for plain lines."""
    read: Callable[[str], list[Entry]]
    """Line → what it names, nothing for a head or a comment; raises ValueError where it cannot be used."""


def format_of(lines: Sequence[str]) -> ListFormat:
    """Return the format of a list by its first lines that are neither blank nor a comment."""
    probe = [*islice((line.strip() for line in lines if not line.strip().startswith(_MARKS)), PROBE_LINES)]
    if not probe:
        return PLAIN
    if probe[0].startswith(("create ", "add ")):
        return ListFormat("ipset save", _ipset)
    if probe[0].startswith("{") or (probe[0].startswith('"') and _works(_json_line, probe[0])):
        return ListFormat("JSON lines", _json_line)
    columns = _columns(probe, 1.0)
    if columns is None and 2 * sum(_works(_plain, line) for line in probe) < len(probe):
        columns = _columns(probe, 0.5)  # some of whose lines cannot be used
    return columns or PLAIN


def json_entries(text: str) -> Iterator[tuple[int, list[Entry] | ValueError]]:
    """Yield (position from 1, what it names or why it cannot be used) for each element of a JSON array.

    Raises:
        ValueError: The text is no JSON array.
    """
    try:
        elements = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON: {error}") from error
    if not isinstance(elements, list):
        raise ValueError("is JSON, but no list of addresses")
    for position, element in enumerate(elements, 1):
        try:
            yield position, _element(element)
        except ValueError as error:
            yield position, error


def networks_of_word(word: str) -> list[Network]:
    """Return what an address, a prefix or a range ``FIRST-LAST`` covers, exactly.

    Raises:
        ValueError: It is none of them, or a range that takes too many prefixes.
    """
    if "-" not in word:
        return [network_of_word(word)]
    first, _, last = word.partition("-")
    try:
        ends = ip_address(first.strip()), ip_address(last.strip())
    except ValueError:
        return [network_of_word(word)]
    try:
        cover = [*islice(range_cover(*ends), MOST_OF_RANGE + 1)]
    except ValueError as error:
        raise ValueError(f'"{word[:90]}" is no range: {error}') from error
    if len(cover) > MOST_OF_RANGE:
        raise ValueError(f'"{word[:90]}" is a range of more than {MOST_OF_RANGE} prefixes: write a prefix around it')
    return cover


def several(word: str) -> list[str]:
    """Return the addresses of a word that holds more than one with something between them; nothing for any other."""
    found = [part for part in _BETWEEN.split(word) if part] if _BETWEEN.search(word) else []
    return found if len(found) > 1 and all(map(_is_network, found)) else []


def _plain(line: str) -> list[Entry]:
    cut = min((at for mark in _MARKS if (at := line.find(mark)) >= 0), default=len(line))
    word = line[:cut].strip()
    if not word:
        return []
    comment = line[cut + 1 :].lstrip("#; \t").strip() if cut < len(line) else ""
    more = line[cut : cut + 1] == ";" and (several(comment) or _is_network(comment.partition(";")[0].strip()))
    if more or several(word):
        raise ValueError(f'"{line.strip()[:90]}" {SEVERAL}')
    if "|" in word:
        raise ValueError(f'"{word[:90]}" is a rule for ports as csf has them: synguard import csf reads those')
    return [(network, comment) for network in networks_of_word(word)]


PLAIN: Final = ListFormat("", _plain)


def _ipset(line: str) -> list[Entry]:
    words = shlex.split(line, posix=True)
    if not words or words[0] == "create":
        return []
    if words[0] != "add" or len(words) < 3:
        raise ValueError(f'"{line.strip()[:90]}" is no line of ipset save')
    if "nomatch" in words[3:]:
        raise ValueError(f"{words[2]} is an exception (nomatch), which a list of bans cannot hold")
    if "," in words[2]:
        raise ValueError(f"{words[2]} names more than an address")
    options = dict(zip(words[3::2], words[4::2], strict=False))
    return [(network, options.get("comment", "")) for network in networks_of_word(words[2])]


def _json_line(line: str) -> list[Entry]:
    text = line.strip().rstrip(",")
    if text.startswith(_MARKS):
        return []
    try:
        return _element(json.loads(text))
    except RecursionError as error:
        raise ValueError(f'"{text[:60]}" is nested too deep') from error
    except json.JSONDecodeError as error:
        raise ValueError(f'"{text[:60]}" is no JSON') from error


def _element(element: Any) -> list[Entry]:
    if isinstance(element, str):
        return [(network, "") for network in networks_of_word(element)]
    if not isinstance(element, dict):
        raise ValueError(f'"{str(element)[:60]}" names no address')
    if element.get("type") == "metadata":
        return []
    word = next((element[key] for key in _KEYS if isinstance(element.get(key), str)), None)
    if word is None:
        raise ValueError(f"none of {', '.join(_KEYS[:5])} is in it")
    note = next((str(element[key]) for key in _NOTES if element.get(key)), "")
    return [(network, note) for network in networks_of_word(word)]


def _columns(probe: Sequence[str], share: float) -> ListFormat | None:
    """Return the format of lines of columns, one of which holds addresses; None where too few are such lines."""
    for delimiter in _DELIMITERS:
        rows = [_cells(line, delimiter) for line in probe]
        width = Counter(map(len, rows)).most_common(1)[0][0]
        body = rows[1:] if len(rows) > 1 and not any(map(_is_network, rows[0])) else rows
        least = share * len(body)
        if width < 2 or sum(len(row) == width for row in body) < least:
            continue
        addresses = Counter(at for row in body for at, cell in enumerate(row) if _is_network(cell) or several(cell))
        held = [column for column, rows_there in addresses.items() if rows_there >= least]
        if len(held) == 1:
            return _column(delimiter, held[0], rows[0] if body is not rows else None)
    return None


def _column(delimiter: str, column: int, head: Sequence[str] | None) -> ListFormat:
    names = [cell.lower() for cell in head or ()]
    note = next((names.index(one) for one in _NOTES if one in names), None)

    def read(line: str) -> list[Entry]:
        if line.strip().startswith(_MARKS):
            return []
        row = _cells(line.strip(), delimiter)
        if head is not None and row == list(head):
            return []
        if len(row) <= column:
            raise ValueError(f'"{line.strip()[:60]}" has no column {column + 1}')
        comment = row[note] if note is not None and note < len(row) else ""
        return [(network, comment) for network in networks_of_word(row[column])]

    return ListFormat(f"columns, the addresses in column {column + 1}", read)


def _cells(line: str, delimiter: str) -> list[str]:
    rows: Iterable[list[str]] = csv.reader([line], delimiter=delimiter, skipinitialspace=True)
    try:
        return [cell.strip() for cell in next(iter(rows), [])]
    except csv.Error:
        return [line]


def _is_network(word: str) -> bool:
    return _works(networks_of_word, word)


def _works(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True
