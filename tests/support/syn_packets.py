"""IP packets and frames by hand, one at a time and as odd as a test likes; TCP checksums are left out."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from tests.support.own_network import HOST4, HOST6

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
ACK: Final = 0x10

IPV4: Final = 0x0800
IPV6: Final = 0x86DD
VLAN: Final = 0x8100
SERVICE_VLAN: Final = 0x88A8


def tcp(port: int, flags: int = SYN, window: int = 512, options: bytes = b"") -> bytes:
    """Return a TCP header; ``options`` is a multiple of 4 long."""
    offset = 5 + len(options) // 4 << 4
    return struct.pack("!HHIIBBHHH", 40_000, port, 1, 0, offset, flags, window, 0, 0) + options


def checked(source: str, destination: IPv4Address | IPv6Address, segment: bytes) -> bytes:
    """Return a TCP segment with its checksum, without which the kernel takes no notice of it."""
    pseudo = type(destination)(source).packed + destination.packed + struct.pack("!HH", 6, len(segment))
    return segment[:16] + _checksum(pseudo + segment) + segment[18:]


def ipv4(
    source: str | IPv4Address,
    payload: bytes,
    options: bytes = b"",
    ttl: int = 64,
    protocol: int = 6,
    fragment: int = 0,
    to: IPv4Address = HOST4,
    ident: int = 1,
) -> bytes:
    """Return an IPv4 packet; ``options`` is a multiple of 4 long, ``fragment`` the offset field with its flags."""
    header = struct.pack(
        "!BBHHHBBH4s4s",
        0x45 + len(options) // 4,
        0,
        20 + len(options) + len(payload),
        ident,
        fragment,
        ttl,
        protocol,
        0,
        IPv4Address(source).packed,
        to.packed,
    )
    header += options
    return header[:10] + _checksum(header) + header[12:] + payload


def _checksum(content: bytes) -> bytes:
    """Return the Internet checksum of content that is not all zeros (RFC 1071)."""
    padded = content + b"\0" * (len(content) % 2)
    words = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    return struct.pack("!H", 0xFFFF - (words % 0xFFFF or 0xFFFF))


def ipv6(
    source: str | IPv6Address, payload: bytes, hops: int = 64, next_header: int = 6, to: IPv6Address = HOST6
) -> bytes:
    """Return an IPv6 packet; extension headers, if any, are part of the payload."""
    header = struct.pack("!IHBB", 6 << 28, len(payload), next_header, hops)
    return header + IPv6Address(source).packed + to.packed + payload


def extension(next_header: int, octets: int = 8) -> bytes:
    """Return an options header of 8, 16, 24 … octets, filled with padding."""
    return struct.pack("!BBBB", next_header, octets // 8 - 1, 1, octets - 4) + bytes(octets - 4)


def fragment(next_header: int, offset: int = 0, *, more: bool = True, ident: int = 7) -> bytes:
    """Return an IPv6 fragment header; ``offset`` in units of 8 octets."""
    return struct.pack("!BBHI", next_header, 0, offset << 3 | more, ident)


def ethernet(destination: bytes, kind: int, packet: bytes, tags: Sequence[tuple[int, int]] = ()) -> bytes:
    """Return a frame; ``tags`` are (protocol, VLAN number), outermost first."""
    header = destination + bytes.fromhex("020000000001")
    for protocol, number in tags:
        header += struct.pack("!HH", protocol, number)
    return header + struct.pack("!H", kind) + packet
