"""Netlink: message headers, attributes, and the whole answer to one question; it knows of no family.

What has been cut short or changed underway is never passed on by ``dump`` and ``query``.

Source: include/uapi/linux/netlink.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from synguard.errors import SensorError
from synguard.memory import at_once

ROUTE: Final = 0  # NETLINK_ROUTE
SOCK_DIAG: Final = 4  # NETLINK_SOCK_DIAG
NETFILTER: Final = 12  # NETLINK_NETFILTER
ACK: Final = 0x04
DUMP: Final = 0x300
NESTED: Final = 0x8000
DUMP_INTR: Final = 0x10
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLMSG_OVERRUN: Final = 4
NO_ERRNO: Final = 4096
"""The kernel's errors are below it (``MAX_ERRNO``); what is not has no words, and may not even fit a C int."""

_REQUEST: Final = 0x01
_TYPE_MASK: Final = 0x3FFF  # the upper bits are NLA_F_NESTED and NLA_F_NET_BYTEORDER
_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port (struct nlmsghdr)
_ATTRIBUTE: Final = struct.Struct("=HH")  # length, type (struct nlattr)
_ERRNO: Final = struct.Struct("=i")
_TIMEOUT_S: Final = 2.0
_SOL_NETLINK: Final = 270
_STRICT_CHECK: Final = 12  # NETLINK_GET_STRICT_CHK
_TRIES: Final = 5
_BUFFER: Final = 1 << 17  # the kernel fills up to 32 KiB a datagram; room for larger ones to come


class Answer(NamedTuple):
    """What the kernel said to one question."""

    bodies: list[bytes]
    """What follows the header of each message, the one that ends the answer left out."""
    interrupted: bool
    """Whether what was asked for changed meanwhile, or messages were lost: it is worth nothing as a whole."""


def dump(
    protocol: int, kind: int, payload: bytes, whose: str, at_most_bytes: int = 1 << 26, *, strict: bool = False
) -> list[bytes]:
    """Return the messages that answer a dump request; asked again when the dumped thing changed underway.

    ``whose`` names what is read, for the operator. ``strict`` has the kernel filter by what the request names
    (``NETLINK_GET_STRICT_CHK``, Linux 4.20; older ones answer with everything).

    Raises:
        SensorError: Refused, no answer, too large, or changing too fast to be read whole.
    """
    return _whole_answer(protocol, kind, DUMP, payload, whose, at_most_bytes, strict=strict)


def query(protocol: int, kind: int, payload: bytes, whose: str) -> list[bytes]:
    """Return the messages that answer one request that is no dump.

    Raises:
        SensorError: Refused, or no answer.
    """
    return _whole_answer(protocol, kind, ACK, payload, whose, 1 << 17)


def _whole_answer(
    protocol: int, kind: int, flags: int, payload: bytes, whose: str, at_most_bytes: int, *, strict: bool = False
) -> list[bytes]:
    try:
        for _ in range(_TRIES):
            with open_channel(protocol, _TIMEOUT_S) as there:
                there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                if strict:
                    with suppress(OSError):
                        there.setsockopt(_SOL_NETLINK, _STRICT_CHECK, 1)
                answer = ask(there, kind, payload, flags, at_most_bytes)
            if not answer.interrupted:
                return answer.bodies
    except TimeoutError as error:
        raise SensorError(f"cannot read {whose}: the kernel did not answer within {_TIMEOUT_S:g} s") from error
    except OSError as error:
        raise SensorError(f"cannot read {whose}: {error.strerror or error}") from error
    raise SensorError(f"cannot read {whose}: it changed under each of {_TRIES} attempts to read it whole")


def open_channel(protocol: int, timeout_s: float) -> socket.socket:
    """Return a socket for questions, of the calling thread's network namespace.

    Raises:
        OSError: The kernel has no such protocol, or refuses it.
    """
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    opened.settimeout(timeout_s)
    return opened


def ask(there: socket.socket, kind: int, payload: bytes, flags: int, at_most_bytes: int = 1 << 30) -> Answer:
    """Return the whole answer; with neither ``ACK`` nor ``DUMP`` in ``flags`` it is one datagram.

    Raises:
        TimeoutError: The kernel did not answer.
        OSError: It refused, its answer is cut short, or is larger than ``at_most_bytes``.
    """
    return at_once(ask_in_pieces(there, kind, payload, flags, at_most_bytes))


def ask_in_pieces(
    there: socket.socket, kind: int, payload: bytes, flags: int, at_most_bytes: int = 1 << 30
) -> Generator[None, None, Answer]:
    """Return the same, pausing after each datagram: the kernel makes the next one when it is asked for it.

    Raises:
        TimeoutError: The kernel did not answer.
        OSError: It refused, its answer is cut short, or is larger than ``at_most_bytes``.
    """
    bodies: list[bytes] = []
    interrupted = False
    there.send(request(kind, flags, payload))
    while True:
        try:
            datagram = there.recv(_BUFFER)
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return Answer([], True)
            raise
        at_most_bytes -= len(datagram)
        if at_most_bytes < 0:
            raise OSError(errno.EFBIG, "the answer is too large")
        for message_kind, message_flags, body in messages(datagram):
            interrupted |= bool(message_flags & DUMP_INTR)
            if message_kind in (NLMSG_ERROR, NLMSG_DONE):
                code = _errno(body)
                if code not in (0, errno.EINTR):
                    raise OSError(code, os.strerror(code))
                return Answer(bodies, interrupted or code == errno.EINTR)
            bodies.append(body)
        if not flags:
            return Answer(bodies, interrupted)
        yield


def ask_each(there: socket.socket, kind: int, payloads: Sequence[bytes]) -> Iterator[bytes | None]:
    """Yield the answer to each of a few questions that are sent as one datagram; None where there is no such thing.

    Raises:
        TimeoutError: The kernel did not answer.
        OSError: It refused, or an answer is cut short.
    """
    there.send(b"".join(request(kind, 0, payload) for payload in payloads))
    for _ in payloads:
        for message_kind, _, body in messages(there.recv(_BUFFER)):
            code = _errno(body) if message_kind == NLMSG_ERROR else None
            if code not in (None, errno.ENOENT):
                raise OSError(code, os.strerror(code))
            yield body if code is None else None


def request(kind: int, flags: int, payload: bytes, sequence: int = 1) -> bytes:
    """Return one question."""
    return _HEADER.pack(_HEADER.size + len(payload), kind, _REQUEST | flags, sequence, 0) + payload


def messages(datagram: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (type, flags, body) of the messages in a datagram.

    Raises:
        OSError: One is cut short.
    """
    start = 0
    while start + _HEADER.size <= len(datagram):
        length, kind, flags, _, _ = _HEADER.unpack_from(datagram, start)
        if length < _HEADER.size or start + length > len(datagram):
            raise OSError(errno.EBADMSG, "the kernel's answer cannot be read: a message is cut short")
        yield kind, flags, datagram[start + _HEADER.size : start + length]
        start += (length + 3) & ~3


def spans(body: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (type, first byte, byte after the last) of the attributes in a range; malformed ends are left out."""
    while start + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(body, start)
        if length < _ATTRIBUTE.size or start + length > end:
            return
        yield kind & _TYPE_MASK, start + _ATTRIBUTE.size, start + length
        start += (length + 3) & ~3


def attributes(body: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield (type, value) of the attributes from an offset on; malformed ends are left out."""
    return ((kind, body[first:last]) for kind, first, last in spans(body, start, len(body)))


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute, padded as netlink wants it."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + b"\0" * (-len(value) % 4)


def interface_name(index: int) -> str:
    """Return the name of an interface; ``interface 7`` where it has gone."""
    try:
        return socket.if_indextoname(index)
    except (OSError, OverflowError, ValueError):  # it went away meanwhile, or never was one (ValueError: Python 3.14)
        return f"interface {index}"


def _errno(body: bytes) -> int:
    """Return the positive errno that an answer ends with, 0 where it ends well; EPROTO for a number that is none."""
    number: int = -_ERRNO.unpack_from(body)[0] if len(body) >= _ERRNO.size else 0
    return number if 0 <= number < NO_ERRNO else errno.EPROTO


def open_sock_diag() -> socket.socket:
    """Return a socket-diagnosis socket of the calling thread's network namespace.

    Raises:
        OSError: The kernel has none.
    """
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, SOCK_DIAG)
