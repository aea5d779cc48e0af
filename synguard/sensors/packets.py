"""The first bytes of many IP packets as columns; safe on any bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from synguard.addresses import V4_PREFIX
from synguard.columns import U8, U16, U32, U64, ColumnTable
from synguard.sensors.bpf import EXTENSION_HEADERS, TCP_NEEDED

_TCP: Final = 6
_FRAGMENT: Final = 44
_OPTIONS: Final = np.isin(np.arange(256), (0, 43, 60))
"""By next-header number: hop-by-hop options, routing, destination options."""
_SYN: Final = 0x02
_FIN_SYN_RST_ACK: Final = 0x17
_IPV6_HEADER: Final = 40
_TCP_HEADER: Final = 20
_I64 = npt.NDArray[np.int64]

MOST_OPTIONS: Final = 16
"""TCP options that are walked, padding included; senders write 5 to 8, and a row of 40 paddings must not cost more."""
_END, _PADDING, _MSS, _WINDOW_SCALE = 0, 1, 2, 3
_BROKEN: Final = 0x100
"""Stands for an option that is cut short or longer than the header."""
_FNV_BASIS: Final = np.uint32(2_166_136_261)
_FNV_PRIME: Final = np.uint32(16_777_619)


@dataclass(frozen=True, slots=True)
class SynColumns(ColumnTable):
    """SYNs as columns of equal length, one row a packet."""

    source_high: U64
    source_low: U64
    local_port: U16
    ttl: U8
    tcp_window: U16
    options: U32


def decode_ipv4(packets: U8, lengths: U32) -> SynColumns:
    """Return the SYNs among packets (uint8, one row each, from the IPv4 header) of which ``lengths`` bytes count.

    Rows that hold no whole TCP header up to its window, or no SYN, are left out.
    """
    if not len(packets):
        return SynColumns.none()
    packets, lengths = _at_least(packets, lengths, 20 + TCP_NEEDED)
    tcp = (packets[:, 0] & 0x0F).astype(np.int64) * 4
    valid = (packets[:, 0] >> 4 == 4) & (tcp >= 20) & (packets[:, 9] == _TCP)
    valid &= (packets[:, 6] & 0x1F == 0) & (packets[:, 7] == 0)
    packets, lengths, tcp = _only_syns(packets, lengths, tcp, valid)
    low = _words(packets, 12, 16)[:, 0] | np.uint64(V4_PREFIX << 32)
    return _columns(packets, lengths, tcp, np.zeros_like(low), low, packets[:, 8])


def decode_ipv6(packets: U8, lengths: U32) -> SynColumns:
    """Return the SYNs among packets (uint8, one row each, from the IPv6 header) of which ``lengths`` bytes count.

    Extension headers are walked as the filter walks them. Rows that hold no SYN are left out. A source that is
    IPv4-mapped is IPv4.
    """
    if not len(packets):
        return SynColumns.none()
    packets, lengths = _at_least(packets, lengths, _IPV6_HEADER + TCP_NEEDED)
    kind, tcp = packets[:, 6].copy(), np.full(len(packets), _IPV6_HEADER, dtype=np.int64)
    for _ in range(EXTENSION_HEADERS):
        kind, tcp = _next_header(packets, kind, tcp)
    packets, lengths, tcp = _only_syns(packets, lengths, tcp, (packets[:, 0] >> 4 == 6) & (kind == _TCP))
    words = _words(packets, 8, 24)
    high, low = words[:, 0] << np.uint64(32) | words[:, 1], words[:, 2] << np.uint64(32) | words[:, 3]
    return _columns(packets, lengths, tcp, high, low, packets[:, 7])


def _at_least(packets: U8, lengths: U32, width: int) -> tuple[U8, U32]:
    """Return packets at least ``width`` bytes wide, and lengths no longer than their rows."""
    lengths = np.minimum(lengths, packets.shape[1]).astype(np.uint32)
    missing = width - packets.shape[1]
    return (np.pad(packets, ((0, 0), (0, missing))) if missing > 0 else packets), lengths


def _next_header(packets: U8, kind: U8, offset: _I64) -> tuple[U8, _I64]:
    """Step over one extension header in each row that has one there; kind 255 (reserved) marks a row given up."""
    options = _OPTIONS[kind]
    fragment = kind == _FRAGMENT
    if not (options.any() or fragment.any()):
        return kind, offset
    rows, at = np.arange(len(packets)), np.minimum(offset, packets.shape[1] - 4)
    later = fragment & ((packets[rows, at + 2] != 0) | (packets[rows, at + 3] & 0xF8 != 0))
    beyond = (options | fragment) & (at != offset)
    size = np.where(options, (packets[rows, at + 1].astype(np.int64) + 1) * 8, np.where(fragment, 8, 0))
    kind = np.where(options | fragment, packets[rows, at], kind)
    return np.where(later | beyond, np.uint8(255), kind), offset + size


def _only_syns(packets: U8, lengths: U32, tcp: _I64, valid: npt.NDArray[np.bool_]) -> tuple[U8, U32, _I64]:
    """Return the valid rows whose TCP header, at offset ``tcp``, is whole up to its window and a SYN's."""
    valid &= tcp + TCP_NEEDED <= lengths
    packets, lengths, tcp = packets[valid], lengths[valid], tcp[valid]
    syn = packets[np.arange(len(packets)), tcp + 13] & _FIN_SYN_RST_ACK == _SYN
    return packets[syn], lengths[syn], tcp[syn]


def _columns(packets: U8, lengths: U32, tcp: _I64, high: U64, low: U64, ttl: U8) -> SynColumns:
    ports, windows = _half_words(packets, tcp + 2), _half_words(packets, tcp + 14)
    return SynColumns(high, low, ports, ttl.copy(), windows, _options(packets, lengths, tcp))


def _options(packets: U8, lengths: U32, tcp: _I64) -> U32:
    """Return a number for each row's TCP options: their kinds in order, MSS and window scale; 0 where there are none.

    What changes from SYN to SYN of one sender, timestamps and Fast Open cookies, does not enter. 32-bit FNV-1a, folding
    in one option instead of one byte at a time.
    """
    octets, width = packets.ravel(), packets.shape[1]
    rows = np.arange(len(packets))
    starts = rows * width
    at = starts + tcp + _TCP_HEADER
    end = starts + np.minimum(tcp + (octets[starts + tcp + 12] >> 4).astype(np.int64) * 4, lengths)
    told = np.zeros(len(packets), np.uint32)
    told[at < end] = _FNV_BASIS
    for _ in range(MOST_OPTIONS):
        left = np.flatnonzero(at < end)
        if not len(left):
            break
        rows, at, end = rows[left], at[left], end[left]
        item, size = _option_at(octets, at, end)
        told[rows] = (told[rows] ^ item) * _FNV_PRIME
        at = np.where(size > 0, at + size, end)
    return told


def _option_at(octets: U8, at: _I64, end: _I64) -> tuple[U32, _I64]:
    """Return what the options at these offsets come to and their sizes, 0 where nothing can follow."""
    last = len(octets) - 1
    kind = octets[at]
    single = kind <= _PADDING
    size = np.where(single, 1, octets[np.minimum(at + 1, last)]).astype(np.int64)
    broken = ~single & ((size < 2) | (at + size > end))
    item = kind.astype(np.uint32)
    for known, most in ((_MSS, 4), (_WINDOW_SCALE, 3)):
        mine = np.flatnonzero((kind == known) & ~broken & (size == most))
        for place in range(2, most):
            item[mine] |= octets[at[mine] + place].astype(np.uint32) << np.uint32(8 * (place - 1))
    item[broken] = _BROKEN
    return item, np.where(broken | (kind == _END), 0, size)


def _words(packets: U8, start: int, end: int) -> U64:
    return np.ascontiguousarray(packets[:, start:end]).view(">u4").astype(np.uint64)


def _half_words(packets: U8, offsets: _I64) -> U16:
    rows = np.arange(len(packets))
    return packets[rows, offsets].astype(np.uint16) << np.uint16(8) | packets[rows, offsets + 1]
