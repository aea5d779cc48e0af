"""Questions to nf_tables over netlink, and the attributes of its answers.

The kernel's answers are part of its stable interface; what the ``nft`` tool prints changes from release to release.
See docs/decisions/0036-nf-tables-is-read-from-the-kernel.md.

Source: include/uapi/linux/netfilter/nf_tables.h; net/netfilter/nf_tables_api.c.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from synguard.errors import NotPermittedError, PlaneError, PlaneUnavailableError

TRIES: Final = 20
"""Every change of nf_tables by any process interrupts a dump, which is then worth nothing as a whole."""

_NETLINK_NETFILTER: Final = 12
_SUBSYSTEM: Final = 10 << 8  # NFNL_SUBSYS_NFTABLES
_INET: Final = 1
_REQUEST: Final = 0x01
DUMP: Final = 0x300
_DUMP_INTR: Final = 0x10
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
NESTED: Final = 0x8000
_TYPE_MASK: Final = 0x3FFF
_BUFFER: Final = 1 << 17  # the kernel fills up to 32 KiB
_TIMEOUT_S: Final = 10.0
_COMMENT: Final = 0

_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port (struct nlmsghdr)
_FAMILY: Final = struct.pack("=BBH", _INET, 0, 0)  # struct nfgenmsg
_ATTRIBUTE: Final = struct.Struct("=HH")  # length, type (struct nlattr)
_ERRNO: Final = struct.Struct("=i")
_NO_ERRNO: Final = 4096  # MAX_ERRNO, plus one
BODY: Final = len(_FAMILY)
"""Where the attributes of an answer begin."""


class Answer(NamedTuple):
    """What the kernel said to one question."""

    bodies: list[bytes]
    """One body a message, each with its ``nfgenmsg`` first; none where what was named is not there."""
    interrupted: bool
    """Whether nf_tables changed during the dump, or messages were lost."""


def channel() -> socket.socket:
    """Return a socket for questions to netfilter.

    Raises:
        PlaneUnavailableError: The kernel has no netfilter netlink.
    """
    try:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    except OSError as error:
        raise PlaneUnavailableError("opening netfilter's netlink", error.strerror or str(error)) from error
    opened.settimeout(_TIMEOUT_S)
    return opened


def ask(there: socket.socket, message: int, what: bytes = b"", flags: int = DUMP) -> Answer:
    """Return the answer to one ``NFT_MSG_GET…`` question about the ``inet`` family.

    Raises:
        NotPermittedError: The process lacks CAP_NET_ADMIN.
        PlaneUnavailableError: The kernel has no nf_tables.
        PlaneError: The kernel could not be asked.
    """
    length = _HEADER.size + BODY + len(what)
    bodies: list[bytes] = []
    interrupted = False
    try:
        there.send(_HEADER.pack(length, _SUBSYSTEM | message, _REQUEST | flags, 1, 0) + _FAMILY + what)
        while True:
            for kind, message_flags, body in messages(there.recv(_BUFFER)):
                interrupted |= bool(message_flags & _DUMP_INTR)
                if kind in (_NLMSG_ERROR, _NLMSG_DONE):
                    code = -_ERRNO.unpack_from(body)[0] if len(body) >= _ERRNO.size else 0
                    _raise_for(code)
                    return Answer(bodies, interrupted or code == errno.EINTR)
                bodies.append(body)
            if not flags:
                return Answer(bodies, interrupted)
    except OSError as error:
        if error.errno == errno.ENOBUFS:
            return Answer([], True)
        raise PlaneError("reading nf_tables", error.strerror or str(error)) from error


def messages(datagram: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (type, flags, body) of the messages in a datagram.

    Raises:
        PlaneError: One is cut short.
    """
    start = 0
    while start + _HEADER.size <= len(datagram):
        length, kind, flags, _, _ = _HEADER.unpack_from(datagram, start)
        if length < _HEADER.size or start + length > len(datagram):
            raise PlaneError("reading nf_tables", "the kernel's answer cannot be read: a message is cut short")
        yield kind, flags, datagram[start + _HEADER.size : start + length]
        start += (length + 3) & ~3


def attributes(body: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (type, first byte, byte after the last) of the attributes between two offsets."""
    while start + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(body, start)
        if length < _ATTRIBUTE.size or start + length > end:
            return
        yield kind & _TYPE_MASK, start + _ATTRIBUTE.size, start + length
        start += (length + 3) & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute of a question."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + b"\0" * (-len(value) % 4)


def comment_in(body: bytes, start: int, end: int) -> str:
    """Return the comment in libnftnl's user data: type and length, one byte each, then text with a NUL."""
    while start + 2 <= end:
        kind, length = body[start], body[start + 1]
        if kind == _COMMENT:
            return body[start + 2 : min(start + 2 + length, end)].rstrip(b"\0").decode(errors="replace")
        start += 2 + length
    return ""


def _raise_for(code: int) -> None:
    if code in (0, errno.ENOENT, errno.EINTR):
        return
    if code == errno.EPERM:
        raise NotPermittedError("The kernel does not let this process read nf_tables: it needs CAP_NET_ADMIN.")
    if code in (errno.EINVAL, errno.EOPNOTSUPP):  # no such subsystem
        raise PlaneUnavailableError("asking the kernel for nf_tables", "it has none: use a kernel with nf_tables")
    words = os.strerror(code) if 0 < code < _NO_ERRNO else f"error {code}"
    raise PlaneError("reading nf_tables", words)
