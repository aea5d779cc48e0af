"""Elements of nf_tables sets as the kernel tells them.

The tool can list them too, with fourteen writes to its output for each: at 100,000 elements that takes some five times
as long as asking the kernel, and even its terse listing of a table fetches them all (1.0.6).

Source: net/netfilter/nf_tables_api.c ``nf_tables_fill_setelem``.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from synguard.enforcer.nftables.netlink import BODY, TRIES, ask, ask_each, ask_in_pieces, channel, comment_in
from synguard.errors import ChangedUnderneathError
from synguard.netlink import NESTED, Answer, attribute, spans

_GETSETELEM: Final = 13
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_LIST_ELEMENT: Final = 1
_KEY, _USERDATA, _EXPRESSION, _EXPRESSIONS = 1, 6, 7, 11
_DATA_VALUE: Final = 1
_KEY_HEADER: Final = 4  # of the one attribute within a key
_EXPRESSION_DATA: Final = 2
_COUNTER_BYTES, _COUNTER_PACKETS = 1, 2
_U64: Final = struct.Struct(">Q")


class Element(NamedTuple):
    """One element: its key as the kernel keeps it, its comment or nothing, its counter or zeros."""

    key: bytes
    comment: str
    packets: int
    bytes: int


def elements_of(table: str, name: str) -> list[Element]:
    """Return all elements of one set of an ``inet`` table; none if there is no such set.

    Raises:
        ChangedUnderneathError: Others kept changing nf_tables all the time.
        NotPermittedError: The process lacks CAP_NET_ADMIN.
        PlaneError: The kernel could not be asked.
    """
    with channel() as there:
        for _ in range(TRIES):
            found = whole(ask(there, _GETSETELEM, _named(table, name)))
            if found is not None:
                return found
    raise ChangedUnderneathError(f"reading set {name}", f"it changed under each of {TRIES} attempts to read it whole")


def elements_in_pieces(table: str, name: str) -> Generator[None, None, list[Element]]:
    """Return the same, pausing again and again; every change meanwhile makes it begin anew, and in the end at one go.

    Raises:
        PlaneError: As for `elements_of`.
    """
    with channel() as there:
        for _ in range(TRIES):
            answer = yield from ask_in_pieces(there, _GETSETELEM, _named(table, name))
            found: list[Element] = []
            for body in () if answer.interrupted else answer.bodies:
                found += elements_in(body)
                yield
            if not answer.interrupted and len({element.key for element in found}) == len(found):
                return found
    return elements_of(table, name)


def single_elements(table: str, wanted: Iterable[tuple[str, bytes]]) -> Iterator[Element | None]:
    """Yield the element of each of these (set name, key), or None.

    Raises:
        PlaneError: As for `elements_of`.
    """
    with channel() as there:
        for body in ask_each(there, _GETSETELEM, (_before_key(table, name, len(key)) + key for name, key in wanted)):
            yield next(elements_in(body), None) if body else None


def whole(answer: Answer) -> list[Element] | None:
    """Return the elements of a dump; None where it was interrupted.

    Where the set was rehashed during the dump, which goes on by count, some elements come twice and as many never.
    """
    found = [element for body in answer.bodies for element in elements_in(body)]
    if answer.interrupted or len({element.key for element in found}) < len(found):
        return None
    return found


def elements_in(body: bytes) -> Iterator[Element]:
    """Yield the elements of one message."""
    for kind, start, end in spans(body, BODY, len(body)):
        if kind == _LIST_ELEMENTS:
            for _, inner, inner_end in spans(body, start, end):
                yield _element(body, inner, inner_end)


def _named(table: str, name: str) -> bytes:
    return attribute(_LIST_TABLE, table.encode() + b"\0") + attribute(_LIST_SET, name.encode() + b"\0")


@lru_cache(maxsize=256)
def _before_key(table: str, name: str, size: int) -> bytes:
    """Return the question for one element up to its key, of so many bytes, with which it ends: they are fours."""
    element = attribute(_KEY | NESTED, attribute(_DATA_VALUE, bytes(size)))
    return (_named(table, name) + attribute(_LIST_ELEMENTS | NESTED, attribute(_LIST_ELEMENT | NESTED, element)))[
        :-size
    ]


def _element(body: bytes, start: int, end: int) -> Element:
    key, comment, packets, octets = b"", "", 0, 0
    for kind, at, until in spans(body, start, end):
        if kind == _KEY:
            key = body[at + _KEY_HEADER : until]
        elif kind == _EXPRESSION:
            packets, octets = _counter(body, at, until)
        elif kind == _EXPRESSIONS:
            for _, inner, inner_end in spans(body, at, until):
                packets, octets = _counter(body, inner, inner_end)
        elif kind == _USERDATA:
            comment = comment_in(body, at, until)
    return Element(key, comment, packets, octets)


def _counter(body: bytes, start: int, end: int) -> tuple[int, int]:
    packets = octets = 0
    for kind, at, until in spans(body, start, end):
        if kind == _EXPRESSION_DATA:
            for inner, inner_at, inner_end in spans(body, at, until):
                if inner_end - inner_at != _U64.size:
                    continue
                if inner == _COUNTER_PACKETS:
                    packets = _U64.unpack_from(body, inner_at)[0]
                elif inner == _COUNTER_BYTES:
                    octets = _U64.unpack_from(body, inner_at)[0]
    return packets, octets
