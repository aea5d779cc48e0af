"""One netlink question and its whole answer; what has been cut short or changed underway is never passed on."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, TypeAlias

from synguard.errors import SensorError

Datagram: TypeAlias = tuple[bytes, list[int]]
"""What came in one piece, and where each message in it begins; the one that ends the answer is left out."""

_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port (struct nlmsghdr)
_START: Final = struct.Struct("=IHH")  # length, type, flags
_ERRNO: Final = struct.Struct("=i")
_NO_ERRNO: Final = 4096  # MAX_ERRNO, plus one
_ATTRIBUTE: Final = struct.Struct("=HH")  # length, type (struct nlattr)
_REQUEST: Final = 0x01
_ACK: Final = 0x04
_DUMP: Final = 0x300
_DUMP_INTR: Final = 0x10
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_TYPE_MASK: Final = 0x3FFF  # the upper bits are NLA_F_NESTED and NLA_F_NET_BYTEORDER
_BUFFER: Final = 1 << 17  # the kernel fills up to 32 KiB a message; room for larger ones to come
_TIMEOUT_S: Final = 2.0
_SOL_NETLINK: Final = 270
_STRICT_CHECK: Final = 12  # NETLINK_GET_STRICT_CHK
_TRIES: Final = 5

HEADER_BYTES: Final = _HEADER.size


def dump(
    protocol: int, kind: int, payload: bytes, whose: str, at_most_bytes: int = 1 << 26, *, strict: bool = False
) -> list[Datagram]:
    """Return the datagrams that answer a dump request; asked again when the dumped thing changed underway.

    ``whose`` names what is read, for the operator. ``strict`` has the kernel filter by what the request names
    (``NETLINK_GET_STRICT_CHK``, Linux 4.20; older ones answer with everything).

    Raises:
        SensorError: Refused, no answer, too large, or changing too fast to be read whole.
    """
    return _ask(protocol, kind, _REQUEST | _DUMP, payload, whose, at_most_bytes, strict=strict)


def ask(protocol: int, kind: int, payload: bytes, whose: str) -> list[Datagram]:
    """Return the datagrams that answer one request that is no dump.

    Raises:
        SensorError: Refused, or no answer.
    """
    return _ask(protocol, kind, _REQUEST | _ACK, payload, whose, _BUFFER)


def split(datagram: bytes) -> tuple[list[int], bool, int | None]:
    """Return where the messages of a datagram begin, whether one tells of an interruption, and how the answer ends.

    The last is None while more is to come, 0 at a whole end, and an errno where the kernel refused. A malformed end of
    the datagram is left out.
    """
    offsets: list[int] = []
    interrupted = False
    offset, size = 0, len(datagram)
    while offset + HEADER_BYTES <= size:
        length, kind, flags = _START.unpack_from(datagram, offset)
        if length < HEADER_BYTES or offset + length > size:
            break
        interrupted |= bool(flags & _DUMP_INTR)
        if kind in (_NLMSG_ERROR, _NLMSG_DONE):
            return offsets, interrupted, _errno(datagram, offset + HEADER_BYTES) if length >= 20 else 0
        offsets.append(offset)
        offset += (length + 3) & ~3
    return offsets, interrupted, None


def _errno(datagram: bytes, offset: int) -> int:
    """Return the positive errno that a message ends with; EPROTO for a number that is none."""
    number: int = -_ERRNO.unpack_from(datagram, offset)[0]
    return number if 0 <= number < _NO_ERRNO else errno.EPROTO


def end_of(datagram: bytes, offset: int) -> int:
    """Return where the message that begins at ``offset`` ends."""
    length: int = _START.unpack_from(datagram, offset)[0]
    return offset + length


def attributes(datagram: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield (type, value) for the attributes between two offsets; malformed ends are left out."""
    while start + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(datagram, start)
        if length < _ATTRIBUTE.size or start + length > end:
            return
        yield kind & _TYPE_MASK, datagram[start + _ATTRIBUTE.size : start + length]
        start += (length + 3) & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute, padded as netlink wants it."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _ask(
    protocol: int, kind: int, flags: int, payload: bytes, whose: str, at_most_bytes: int, *, strict: bool = False
) -> list[Datagram]:
    try:
        for _ in range(_TRIES):
            answer = _once(protocol, kind, flags, payload, at_most_bytes, strict=strict)
            if answer is not None:
                return answer
    except TimeoutError as error:
        raise SensorError(f"cannot read {whose}: the kernel did not answer within {_TIMEOUT_S:g} s") from error
    except OSError as error:
        raise SensorError(f"cannot read {whose}: {error.strerror or error}") from error
    raise SensorError(f"cannot read {whose}: it changed under each of {_TRIES} attempts to read it whole")


def _once(
    protocol: int, kind: int, flags: int, payload: bytes, at_most_bytes: int, *, strict: bool
) -> list[Datagram] | None:
    """Return the answer, or None where it was interrupted or overrun and must be asked for again."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as channel:
        channel.settimeout(_TIMEOUT_S)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        if strict:
            with suppress(OSError):
                channel.setsockopt(_SOL_NETLINK, _STRICT_CHECK, 1)
        channel.sendto(_HEADER.pack(HEADER_BYTES + len(payload), kind, flags, 1, 0) + payload, (0, 0))
        answer: list[Datagram] = []
        room = at_most_bytes
        while True:
            try:
                datagram = channel.recv(_BUFFER)
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    return None
                raise
            room -= len(datagram)
            if room < 0:
                raise OSError(errno.EFBIG, f"the answer is larger than {at_most_bytes >> 20} MiB")
            offsets, interrupted, code = split(datagram)
            if code:
                raise OSError(code, os.strerror(code))
            if interrupted:
                return None
            answer.append((datagram, offsets))
            if code == 0:
                return answer
