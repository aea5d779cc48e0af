"""SYN frames by the thousand: one numpy row a frame, checksums correct."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import numpy as np
import numpy.typing as npt

from tests.support.lab.flood_plan import Look, SourceGroup
from tests.support.lab.sources import U64, draw

Rows = npt.NDArray[np.uint8]

WIDEST: Final = 1514
"""The width of a row."""

_OPTIONS: Final = {
    "none": b"",
    "mss": bytes.fromhex("020405b4"),
    "linux": bytes.fromhex("020405b4 0402 080a0000000000000000 01 030307"),
    "windows": bytes.fromhex("020405b4 01 030308 01 01 0402"),
}
"""MSS 1460 and what each system adds, in its order: ``mss,sok,ts,nop,ws`` and ``mss,nop,ws,nop,nop,sok`` to p0f."""

_SKIPPED: Final = 0x1E
"""An option that no one knows and whose type says to skip it; padding of more than seven bytes is refused."""
_TIMESTAMP_AT: Final = 8
"""Offset of TSval within the ``linux`` options."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where frames go: link addresses, and the victim's address in each family."""

    source_mac: bytes
    gateway_mac: bytes
    target4: IPv4Address
    target6: IPv6Address


class GroupFrames:
    """Frames of one source group; everything that is the same in all of them is laid out once."""

    def __init__(self, group: SourceGroup, route: Route, ports: tuple[int, ...], rng: np.random.Generator) -> None:
        self._draw, self._look, self._rng = draw(group, rng), group.look, rng
        self._ports = np.array(ports, np.uint16)
        self._version = group.version
        self._ip = 14
        self._tcp = (34 if self._version == 4 else 54) + sum(group.look.headers)
        self._template = _template(self._version, route, group.look)
        self.length = len(self._template)

    def build(self, count: int) -> Rows:
        """Return ``count`` new frames, shape (count, ``length``); of fragments the two of a SYN follow one another."""
        whole = -(-count // 2) if self._look.fragment else count
        rows = np.tile(self._template, (whole, 1))
        high, low = self._draw.take(whole)
        self._fill_ip(rows, high, low)
        self._fill_tcp(rows)
        return self._cut(rows)[:count] if self._look.fragment else rows

    def _cut(self, rows: Rows) -> Rows:
        """Return both fragments of each; what is behind a fragment in its row is padding, as on Ethernet."""
        first, length = self._look.fragment, rows.shape[1] - self._tcp
        pairs = np.repeat(rows, 2, axis=0)
        pairs[1::2, self._tcp : self._tcp + length - first] = rows[:, self._tcp + first :]
        for half, size, place in ((0, first, 0x2000), (1, length - first, first // 8)):
            _put16(pairs[half::2], self._ip + 2, np.full(len(rows), 20 + size, np.uint16))
            _put16(pairs[half::2], self._ip + 6, np.full(len(rows), place, np.uint16))
        pairs[:, self._ip + 10 : self._ip + 12] = 0
        _put16(pairs, self._ip + 10, _checksum(_words(pairs[:, self._ip : self._ip + 20])))
        return pairs

    def _fill_ip(self, rows: Rows, high: U64, low: U64) -> None:
        ttl = _ttl(self._look, high, low)
        at = self._ip
        if self._version == 4:
            rows[:, at + 4 : at + 6] = self._rng.integers(0, 256, (len(rows), 2), np.uint8)
            rows[:, at + 8] = ttl
            rows[:, at + 12 : at + 16] = _bytes(low.astype(">u4"))
            _put16(rows, at + 10, _checksum(_words(rows[:, at : at + 20])))
        else:
            rows[:, at + 7] = ttl
            rows[:, at + 8 : at + 16] = _bytes(high.astype(">u8"))
            rows[:, at + 16 : at + 24] = _bytes(low.astype(">u8"))

    def _fill_tcp(self, rows: Rows) -> None:
        count, at = len(rows), self._tcp
        _put16(rows, at, self._rng.integers(1024, 65536, count, np.uint16, endpoint=False))
        _put16(rows, at + 2, self._rng.choice(self._ports, count))
        rows[:, at + 4 : at + 8] = self._rng.integers(0, 256, (count, 4), np.uint8)
        _put16(rows, at + 14, self._rng.choice(np.array(self._look.windows, np.uint16), count))
        if self._look.options == "linux":
            stamp = at + 20 + _TIMESTAMP_AT
            rows[:, stamp : stamp + 4] = self._rng.integers(0, 256, (count, 4), np.uint8)
        end = self._ip + (20 if self._version == 4 else 40)
        addresses = _words(rows[:, end - (8 if self._version == 4 else 32) : end])
        _put16(rows, at + 16, _checksum(_words(rows[:, at:]) + addresses + np.uint32(6 + rows.shape[1] - at)))


def _template(version: int, route: Route, look: Look) -> Rows:
    options = _OPTIONS[look.options]
    tcp_length = 20 + len(options)
    tcp = bytes(12) + bytes([tcp_length // 4 << 4, 0x02]) + bytes(6) + options
    if version == 4:
        ethernet = b"\x08\x00"
        ip = bytes([0x45, 0]) + (20 + tcp_length).to_bytes(2, "big") + bytes([0, 0, 0x40, 0, 0, 6, 0, 0])
        ip += bytes(4) + route.target4.packed
    else:
        ethernet = b"\x86\xdd"
        kinds = [*(60 for _ in look.headers), 6]
        payload = tcp_length + sum(look.headers)
        ip = bytes([0x60, 0, 0, 0]) + payload.to_bytes(2, "big") + bytes([kinds[0], 0]) + bytes(16)
        ip += route.target6.packed
        for kind, size in zip(kinds[1:], look.headers, strict=True):
            ip += bytes([kind, size // 8 - 1, _SKIPPED, size - 4]) + bytes(size - 4)
    return np.frombuffer(route.gateway_mac + route.source_mac + ethernet + ip + tcp, np.uint8)


def _ttl(look: Look, high: U64, low: U64) -> npt.NDArray[np.uint8]:
    """Return a TTL for each source, always the same for the same source."""
    lowest, highest = look.ttl
    mixed = (low ^ high) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)
    return (np.uint64(lowest) + mixed % np.uint64(highest - lowest + 1)).astype(np.uint8)


def _bytes(values: npt.NDArray[np.generic]) -> Rows:
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), values.itemsize)


def _put16(rows: Rows, at: int, values: npt.NDArray[np.uint16]) -> None:
    rows[:, at : at + 2] = _bytes(values.astype(">u2"))


def _words(part: Rows) -> npt.NDArray[np.uint32]:
    """Return the sum of each row's 16-bit words."""
    words: npt.NDArray[np.uint32] = np.ascontiguousarray(part).view(">u2").sum(axis=1, dtype=np.uint32)
    return words


def _checksum(sums: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint16]:
    """Fold word sums to Internet checksums (RFC 1071)."""
    folded = (sums & np.uint32(0xFFFF)) + (sums >> np.uint32(16))
    folded = (folded & np.uint32(0xFFFF)) + (folded >> np.uint32(16))
    return (~folded & np.uint32(0xFFFF)).astype(np.uint16)
