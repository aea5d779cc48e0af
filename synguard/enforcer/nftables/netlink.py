"""Questions to nf_tables over netlink, and the attributes of its answers.

The kernel's answers are part of its stable interface; what the ``nft`` tool prints changes from release to release.
See docs/decisions/0036-nf-tables-is-read-from-the-kernel.md.

Source: include/uapi/linux/netfilter/nf_tables.h; net/netfilter/nf_tables_api.c.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from synguard import netlink
from synguard.errors import NotPermittedError, PlaneError, PlaneUnavailableError
from synguard.memory import at_once, in_parts
from synguard.netlink import DUMP, NETFILTER, Answer

TRIES: Final = 20
"""Every change of nf_tables by any process interrupts a dump, which is then worth nothing as a whole."""

TOGETHER: Final = 64
"""Questions in one datagram: all of their answers wait in the socket's buffer, of 200 KiB where no one changed it."""

_SUBSYSTEM: Final = 10 << 8  # NFNL_SUBSYS_NFTABLES
_INET: Final = 1
_TIMEOUT_S: Final = 10.0
_COMMENT: Final = 0
_FAMILY: Final = struct.pack("=BBH", _INET, 0, 0)  # struct nfgenmsg
BODY: Final = len(_FAMILY)
"""Where the attributes of an answer begin."""


def channel() -> socket.socket:
    """Return a socket for questions to netfilter.

    Raises:
        PlaneUnavailableError: The kernel has no netfilter netlink.
    """
    try:
        return netlink.open_channel(NETFILTER, _TIMEOUT_S)
    except OSError as error:
        raise PlaneUnavailableError("opening netfilter's netlink", error.strerror or str(error)) from error


def ask(there: socket.socket, message: int, what: bytes = b"", flags: int = DUMP) -> Answer:
    """Return the answer to one ``NFT_MSG_GET…`` question about the ``inet`` family.

    Raises:
        NotPermittedError: The process lacks CAP_NET_ADMIN.
        PlaneUnavailableError: The kernel has no nf_tables.
        PlaneError: The kernel could not be asked.
    """
    return at_once(ask_in_pieces(there, message, what, flags))


def ask_in_pieces(
    there: socket.socket, message: int, what: bytes = b"", flags: int = DUMP
) -> Generator[None, None, Answer]:
    """Return the same, pausing again and again.

    Raises:
        PlaneError: As for ``ask``.
    """
    with _translated():
        try:
            return (yield from netlink.ask_in_pieces(there, _SUBSYSTEM | message, _FAMILY + what, flags))
        except FileNotFoundError:
            return Answer([], interrupted=False)


def ask_each(there: socket.socket, message: int, whats: Iterable[bytes]) -> Iterator[bytes | None]:
    """Yield the answer to each of these questions, None where there is no such thing; ``TOGETHER`` go as one.

    Raises:
        PlaneError: As for ``ask``.
    """
    with _translated():
        for part in in_parts([_FAMILY + what for what in whats], TOGETHER):
            yield from netlink.ask_each(there, _SUBSYSTEM | message, part)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPERM:
            text = "The kernel does not let this process read nf_tables: it needs CAP_NET_ADMIN."
            raise NotPermittedError(text) from error
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):  # no such subsystem
            text = "it has none: use a kernel with nf_tables"
            raise PlaneUnavailableError("asking the kernel for nf_tables", text) from error
        raise PlaneError("reading nf_tables", error.strerror or str(error)) from error


def comment_in(body: bytes, start: int, end: int) -> str:
    """Return the comment in libnftnl's user data: type and length, one byte each, then text with a NUL."""
    while start + 2 <= end:
        kind, length = body[start], body[start + 1]
        if kind == _COMMENT:
            return body[start + 2 : min(start + 2 + length, end)].rstrip(b"\0").decode(errors="replace")
        start += 2 + length
    return ""
