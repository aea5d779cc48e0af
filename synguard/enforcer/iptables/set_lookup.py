"""Whether ipsets hold certain members, asked of the kernel one by one: of 100,000 bans a page costs a page.

Source: include/uapi/linux/netfilter/ipset/ip_set.h; net/netfilter/ipset/ip_set_core.c ``ip_set_utest``.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable
from typing import Final

from synguard import netlink
from synguard.errors import NotPermittedError, PlaneError
from synguard.model import Ban
from synguard.netlink import NESTED, NETFILTER, attribute

_TEST: Final = 6 << 8 | 11  # NFNL_SUBSYS_IPSET, IPSET_CMD_TEST
_TIMEOUT_S: Final = 2.0
_BIG_ENDIAN: Final = 0x4000
_PROTOCOL, _SETNAME, _DATA = 1, 2, 7
_IP, _CIDR, _PORT, _PROTO = 1, 3, 4, 7
_PROTOCOL_VERSION: Final = 6
"""Spoken by every kernel since 2.6.39; later ones speak 7 too."""


def held(bans: Iterable[tuple[Ban, str]]) -> frozenset[str]:
    """Return the ids of those of the (ban, set name) all of whose members are there.

    Raises:
        NotPermittedError: The process lacks CAP_NET_ADMIN.
        PlaneError: The kernel could not be asked.
    """
    try:
        with netlink.open_channel(NETFILTER, _TIMEOUT_S) as there:
            return frozenset(ban.id for ban, name in bans if all(_is_in(there, one) for one in _questions(ban, name)))
    except PermissionError as error:
        text = "The kernel does not let this process read ipsets: it needs CAP_NET_ADMIN."
        raise NotPermittedError(text) from error
    except OSError as error:
        raise PlaneError("asking for members of ipsets", error.strerror or str(error)) from error


def _is_in(there: socket.socket, question: bytes) -> bool:
    try:
        netlink.ask(there, _TEST, question, netlink.ACK)
    except OSError as error:
        if error.errno in (errno.EPROTO, errno.ENOENT):  # an error number of ipset's own, or no such set
            return False
        raise
    return True


def _questions(ban: Ban, name: str) -> list[bytes]:
    four = ban.target.version == 4
    head = struct.pack("=BBH", socket.AF_INET if four else socket.AF_INET6, 0, 0)  # struct nfgenmsg
    head += attribute(_PROTOCOL, bytes([_PROTOCOL_VERSION])) + attribute(_SETNAME, name.encode() + b"\0")
    packed = ban.target.network_address.packed
    member = attribute(_IP | NESTED, attribute((1 if four else 2) | _BIG_ENDIAN, packed))
    member += attribute(_CIDR, bytes([ban.target.prefixlen]))
    tcp = attribute(_PROTO, bytes([socket.IPPROTO_TCP]))
    ports = [member + attribute(_PORT | _BIG_ENDIAN, struct.pack(">H", port)) + tcp for port in ban.ports]
    return [head + attribute(_DATA | NESTED, one) for one in ports or [member]]
