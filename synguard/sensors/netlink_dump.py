"""One netlink question and its whole answer; what has been cut short or changed underway is never passed on."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final

from synguard.errors import SensorError

_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port (struct nlmsghdr)
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
_TRIES: Final = 5

HEADER_BYTES: Final = _HEADER.size


def dump(protocol: int, kind: int, payload: bytes, whose: str, at_most_bytes: int = 1 << 26) -> list[bytes]:
    """Return the datagrams that answer a dump request, each holding whole messages; retried when it changed underway.

    ``whose`` names what is read, for the operator.

    Raises:
        SensorError: Refused, no answer, too large, or changing too fast to be read whole.
    """
    return _ask(protocol, kind, _REQUEST | _DUMP, payload, whose, at_most_bytes)


def ask(protocol: int, kind: int, payload: bytes, whose: str) -> list[bytes]:
    """Return the datagrams that answer one request that is no dump.

    Raises:
        SensorError: Refused, or no answer.
    """
    return _ask(protocol, kind, _REQUEST | _ACK, payload, whose, _BUFFER)


def messages(datagram: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (type, start of payload, end of payload) for each message of one datagram; malformed ends are left out."""
    offset, size = 0, len(datagram)
    while offset + HEADER_BYTES <= size:
        length, kind = struct.unpack_from("=IH", datagram, offset)
        if length < HEADER_BYTES or offset + length > size:
            return
        yield kind, offset + HEADER_BYTES, offset + length
        offset += (length + 3) & ~3


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


def _ask(protocol: int, kind: int, flags: int, payload: bytes, whose: str, at_most_bytes: int) -> list[bytes]:
    try:
        for _ in range(_TRIES):
            answer = _once(protocol, kind, flags, payload, at_most_bytes)
            if answer is not None:
                return answer
    except TimeoutError as error:
        raise SensorError(f"cannot read {whose}: the kernel did not answer within {_TIMEOUT_S:g} s") from error
    except OSError as error:
        raise SensorError(f"cannot read {whose}: {error.strerror or error}") from error
    raise SensorError(f"cannot read {whose}: it changed under each of {_TRIES} attempts to read it whole")


def _once(protocol: int, kind: int, flags: int, payload: bytes, at_most_bytes: int) -> list[bytes] | None:
    """Return the answer, or None where it was interrupted or overrun and must be asked for again."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as channel:
        channel.settimeout(_TIMEOUT_S)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        channel.sendto(_HEADER.pack(HEADER_BYTES + len(payload), kind, flags, 1, 0) + payload, (0, 0))
        answer: list[bytes] = []
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
            answer.append(datagram)
            ended = _ended(datagram)
            if ended is not None:
                return answer if ended else None


def _ended(datagram: bytes) -> bool | None:
    """Return None while more is to come, True at a whole end, False where the dump was interrupted.

    Raises:
        OSError: The kernel refused.
    """
    offset = 0
    interrupted = False
    for kind, start, _end in messages(datagram):
        offset = start - HEADER_BYTES
        interrupted |= bool(struct.unpack_from("=H", datagram, offset + 6)[0] & _DUMP_INTR)
        if kind in (_NLMSG_ERROR, _NLMSG_DONE):
            code = -struct.unpack_from("=i", datagram, start)[0]
            if code > 0:
                raise OSError(code, os.strerror(code))
            return not interrupted
    return False if interrupted else None
