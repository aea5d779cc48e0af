"""Peers of connections that were lately closed in good order, as the kernel remembers them in ``tcp_metrics``.

The kernel makes an entry when a connection ends with FINs both ways and a round trip was measured on it, whichever
end closed first, and for outgoing connections too. So an entry needs a completed handshake. Kernel tests hold that
neither of these makes one: a SYN from a forged source, answered or not; a half-open connection; a handshake ended by
a reset. What makes none although honest: a connection still open (the socket table has it), one that was
reset, any with ``net.ipv4.tcp_no_metrics_save=1``. A Fast Open cookie that this host was given as a client does make
an entry, for a server it chose to speak to.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from synguard.columns import U8, U64
from synguard.errors import SensorError
from synguard.netlink import attribute, attributes, dump, query

_NETLINK_GENERIC: Final = 16
_GENL_BYTES: Final = 4  # struct genlmsghdr
_GENL_ID_CTRL: Final = 16
_CTRL_GETFAMILY: Final = 3
_CTRL_FAMILY_ID: Final = 1
_CTRL_FAMILY_NAME: Final = 2
_METRICS_GET: Final = 1
_ADDR_IPV4: Final = 1
_ADDR_IPV6: Final = 2
_AGE: Final = 3  # milliseconds, u64
_SADDR_IPV4: Final = 11
_SADDR_IPV6: Final = 12

_MAPPED: Final = np.uint64(0xFFFF_0000_0000)
_WHOSE: Final = "the kernel's memory of finished connections (tcp_metrics)"

_ATTRIBUTE: Final = 4


def read_finished_peers(max_age_s: float) -> tuple[U64, U64]:
    """Return the addresses (high, low) of peers whose last proper close is at most ``max_age_s`` seconds ago.

    An address appears once for each of our addresses it spoke to. The kernel bounds its table, to some 80,000 entries
    at most, and forgets the oldest of a bucket first. About 1.3 µs an entry, the kernel's share included.

    Raises:
        SensorError: The kernel refused or offers no such memory.

    Source: net/ipv4/tcp_metrics.c, include/uapi/linux/tcp_metrics.h.
    """
    request = struct.pack("=BBH", _METRICS_GET, 1, 0)
    return decode_finished_peers(dump(_NETLINK_GENERIC, _family(), request, _WHOSE), max_age_s)


def decode_finished_peers(bodies: list[bytes], max_age_s: float) -> tuple[U64, U64]:
    """Return the addresses (high, low) of the entries no older than ``max_age_s`` in a tcp_metrics dump.

    Raises:
        SensorError: An entry does not begin with peer, own address and age, as Linux 3.14 to 6.18 lay it out.
    """
    offsets = np.cumsum([0, *map(len, bodies)], dtype=np.int64)[:-1]
    octets = np.frombuffer(b"".join(bodies), dtype=np.uint8)
    v4 = _entries(octets, offsets, 4, (_ADDR_IPV4, _SADDR_IPV4))
    v6 = _entries(octets, offsets, 16, (_ADDR_IPV6, _SADDR_IPV6))
    if len(v4) + len(v6) < len(offsets):
        raise SensorError(f"cannot read {_WHOSE}: this kernel lays its entries out in a way that is not known here")
    v4_high, v4_low = _addresses(v4, 4, max_age_s)
    v6_high, v6_low = _addresses(v6, 16, max_age_s)
    return np.concatenate((v4_high, v6_high)), np.concatenate((v4_low, v6_low))


def _entries(octets: U8, offsets: npt.NDArray[np.int64], width: int, kinds: tuple[int, int]) -> U8:
    """Return one row an entry of one family, from its first attribute to the end of its age."""
    size = _ATTRIBUTE + width + _ATTRIBUTE + width + _ATTRIBUTE + 8
    offsets = offsets[offsets + _GENL_BYTES + size <= len(octets)] + _GENL_BYTES
    rows: U8 = octets[offsets[:, None] + np.arange(size)] if len(offsets) else np.empty((0, size), np.uint8)
    fits = np.ones(len(rows), dtype=np.bool_)
    for place, length, kind in ((0, width, kinds[0]), (4 + width, width, kinds[1]), (8 + 2 * width, 8, _AGE)):
        expected = np.frombuffer(struct.pack("=HH", _ATTRIBUTE + length, kind), dtype=np.uint8)
        fits &= (rows[:, place : place + _ATTRIBUTE] == expected).all(axis=1)
    return rows[fits]


def _addresses(entries: U8, width: int, max_age_s: float) -> tuple[U64, U64]:
    age_ms = np.ascontiguousarray(entries[:, -8:]).view(np.uint64).ravel()
    young = entries[age_ms <= max_age_s * 1000, _ATTRIBUTE : _ATTRIBUTE + width]
    words = np.ascontiguousarray(young).view(">u4").astype(np.uint64)
    if width == 4:
        return np.zeros(len(words), dtype=np.uint64), words[:, 0] | _MAPPED
    return words[:, 0] << np.uint64(32) | words[:, 1], words[:, 2] << np.uint64(32) | words[:, 3]


@cache
def _family() -> int:
    """Return the number that generic netlink gave the family at boot."""
    name = attribute(_CTRL_FAMILY_NAME, b"tcp_metrics\0")
    request = struct.pack("=BBH", _CTRL_GETFAMILY, 1, 0) + name
    for body in query(_NETLINK_GENERIC, _GENL_ID_CTRL, request, _WHOSE):
        for kind, value in attributes(body, _GENL_BYTES):
            if kind == _CTRL_FAMILY_ID and len(value) == 2:
                number: int = struct.unpack("=H", value)[0]
                return number
    raise SensorError(f"cannot read {_WHOSE}: this kernel does not offer it")
