"""Elements of nf_tables sets as the kernel tells them, over netlink.

The tool can list them too, with fourteen writes to its output for each: at 100,000 elements that takes some five times
as long as asking the kernel, and even its terse listing of a table fetches them all (1.0.6).

Source: include/uapi/linux/netfilter/nf_tables.h; net/netfilter/nf_tables_api.c ``nf_tables_fill_setelem``.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from synguard.errors import ChangedUnderneathError, NotPermittedError, PlaneError, PlaneUnavailableError

TRIES: Final = 20
"""Every change of nf_tables by anybody interrupts a dump, which is then worth nothing as a whole."""

_NETLINK_NETFILTER: Final = 12
_GETSETELEM: Final = 10 << 8 | 13  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETSETELEM
_INET: Final = 1
_REQUEST: Final = 0x01
_DUMP: Final = 0x300
_DUMP_INTR: Final = 0x10
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_LIST_ELEMENT: Final = 1
_KEY, _USERDATA, _EXPRESSION, _EXPRESSIONS = 1, 6, 7, 11
_DATA_VALUE: Final = 1
_EXPRESSION_DATA: Final = 2
_COUNTER_BYTES, _COUNTER_PACKETS = 1, 2
_COMMENT: Final = 0
_NESTED: Final = 0x8000
_TYPE_MASK: Final = 0x3FFF
_BUFFER: Final = 1 << 17  # the kernel fills up to 32 KiB
_TIMEOUT_S: Final = 10.0

_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port (struct nlmsghdr)
_FAMILY: Final = struct.pack("=BBH", _INET, 0, 0)  # struct nfgenmsg
_ATTRIBUTE: Final = struct.Struct("=HH")  # length, type (struct nlattr)
_U64: Final = struct.Struct(">Q")
_ERRNO: Final = struct.Struct("=i")
_NO_ERRNO: Final = 4096  # MAX_ERRNO, plus one
_BODY: Final = _HEADER.size + len(_FAMILY)


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
    with _channel() as channel:
        for _ in range(TRIES):
            found = _dump(channel, _named(table, name))
            if found is not None:
                return found
    raise ChangedUnderneathError(f"reading set {name}", f"it changed under each of {TRIES} attempts to read it whole")


def single_elements(table: str, wanted: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, Element]]:
    """Yield (set name, element) for those (set name, key) that are there.

    Raises:
        PlaneError: As for `elements_of`.
    """
    with _channel() as channel:
        for name, key in wanted:
            element = _attribute(_KEY | _NESTED, _attribute(_DATA_VALUE, key))
            listed = _attribute(_LIST_ELEMENTS | _NESTED, _attribute(_LIST_ELEMENT | _NESTED, element))
            yield from ((name, found) for found in _dump(channel, _named(table, name) + listed, 0) or ())


def _named(table: str, name: str) -> bytes:
    return _attribute(_LIST_TABLE, table.encode() + b"\0") + _attribute(_LIST_SET, name.encode() + b"\0")


def _channel() -> socket.socket:
    try:
        channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    except OSError as error:
        raise PlaneUnavailableError("opening netfilter's netlink", error.strerror or str(error)) from error
    channel.settimeout(_TIMEOUT_S)
    return channel


def _dump(channel: socket.socket, what: bytes, flags: int = _DUMP) -> list[Element] | None:
    """Return the elements that answer one request; None where the dump was interrupted."""
    found: list[Element] = []
    interrupted = False
    try:
        channel.send(_HEADER.pack(_BODY + len(what), _GETSETELEM, _REQUEST | flags, 1, 0) + _FAMILY + what)
        while True:
            for kind, message_flags, body in _messages(channel.recv(_BUFFER)):
                interrupted |= bool(message_flags & _DUMP_INTR)
                if kind in (_NLMSG_ERROR, _NLMSG_DONE):
                    _raise_for(-_ERRNO.unpack_from(body)[0] if len(body) >= _ERRNO.size else 0)
                    return None if interrupted or _repeats(found) else found
                found += _elements(body)
            if not flags:
                return found
    except OSError as error:
        if error.errno == errno.ENOBUFS:
            return None
        raise PlaneError("reading nf_tables sets", error.strerror or str(error)) from error


def _repeats(found: list[Element]) -> bool:
    """Return whether the set was rehashed during the dump, which goes on by count: some come twice, as many never."""
    return len({element.key for element in found}) < len(found)


def _raise_for(code: int) -> None:
    if code in (0, errno.ENOENT, errno.EINTR):
        return
    if code == errno.EPERM:
        raise NotPermittedError("The kernel does not let this process read nf_tables: it needs CAP_NET_ADMIN.")
    words = os.strerror(code) if 0 < code < _NO_ERRNO else f"error {code}"
    raise PlaneError("reading nf_tables sets", words)


def _messages(datagram: bytes) -> Iterator[tuple[int, int, bytes]]:
    start = 0
    while start + _HEADER.size <= len(datagram):
        length, kind, flags, _, _ = _HEADER.unpack_from(datagram, start)
        if length < _HEADER.size or start + length > len(datagram):
            raise PlaneError("reading nf_tables sets", "the kernel's answer cannot be read: a message is cut short")
        yield kind, flags, datagram[start + _HEADER.size : start + length]
        start += (length + 3) & ~3


def _elements(body: bytes) -> Iterator[Element]:
    for kind, start, end in _attributes(body, len(_FAMILY), len(body)):
        if kind == _LIST_ELEMENTS:
            for _, inner, inner_end in _attributes(body, start, end):
                yield _element(body, inner, inner_end)


def _element(body: bytes, start: int, end: int) -> Element:
    key, comment, packets, octets = b"", "", 0, 0
    for kind, at, until in _attributes(body, start, end):
        if kind == _KEY:
            key = body[at + _ATTRIBUTE.size : until]
        elif kind == _EXPRESSION:
            packets, octets = _counter(body, at, until)
        elif kind == _EXPRESSIONS:
            for _, inner, inner_end in _attributes(body, at, until):
                packets, octets = _counter(body, inner, inner_end)
        elif kind == _USERDATA:
            comment = _comment(body, at, until)
    return Element(key, comment, packets, octets)


def _counter(body: bytes, start: int, end: int) -> tuple[int, int]:
    packets = octets = 0
    for kind, at, until in _attributes(body, start, end):
        if kind == _EXPRESSION_DATA:
            for inner, inner_at, inner_end in _attributes(body, at, until):
                if inner_end - inner_at != _U64.size:
                    continue
                if inner == _COUNTER_PACKETS:
                    packets = _U64.unpack_from(body, inner_at)[0]
                elif inner == _COUNTER_BYTES:
                    octets = _U64.unpack_from(body, inner_at)[0]
    return packets, octets


def _comment(body: bytes, start: int, end: int) -> str:
    """Return the comment in libnftnl's user data: type and length, one byte each, then text with a NUL."""
    while start + 2 <= end:
        kind, length = body[start], body[start + 1]
        if kind == _COMMENT:
            return body[start + 2 : min(start + 2 + length, end)].rstrip(b"\0").decode(errors="replace")
        start += 2 + length
    return ""


def _attributes(body: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (type, first byte, byte after the last) of the attributes between two offsets."""
    while start + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(body, start)
        if length < 4 or start + length > end:
            return
        yield kind & _TYPE_MASK, start + 4, start + length
        start += (length + 3) & ~3


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + b"\0" * (-len(value) % 4)
