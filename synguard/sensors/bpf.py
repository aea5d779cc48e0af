"""Classic BPF programs that pick SYNs out of all arriving packets inside the kernel.

They are written for ``SOCK_DGRAM`` packet sockets, where offset 0 is the IP header whatever the link is.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from synguard.readings import EVERY_PORT

SNAP: Final = 176
"""Bytes of each IPv4 packet that are kept, from its IP header: room for 60 of it and 116 of TCP header."""
SNAP6: Final = 432
"""Bytes of each IPv6 packet: room for 40 of header, 376 of extension headers, and the first 16 of the TCP header, up
to its window. TCP options, up to 40 bytes behind byte 20, are there but for the oddest of headers; what is cut off
counts as not sent."""

TCP_NEEDED: Final = 16
EXTENSION_HEADERS: Final = 8
"""Extension headers that are walked; a SYN behind more is not seen. The kernel itself walks any number."""

MAX_PORTS: Final = 128
"""Ports that are compared one by one in the kernel: some 0.3 ns each, and only for SYNs. More are left to numpy, at
the price that SYNs to other ports then take their share of what is kept."""

_LD_IMM: Final = 0x00
_LD_W_ABS: Final = 0x20
_LD_H_ABS: Final = 0x28
_LD_B_ABS: Final = 0x30
_LD_H_IND: Final = 0x48
_LD_B_IND: Final = 0x50
_LD_MEM: Final = 0x60
_LDX_IMM: Final = 0x01
_LDX_B_MSH: Final = 0xB1  # X = 4 * ([k] & 0xf)
_ST: Final = 0x02
_ADD_K: Final = 0x04
_ADD_X: Final = 0x0C
_AND_K: Final = 0x54
_LSH_K: Final = 0x64
_JA: Final = 0x05
_JEQ: Final = 0x15
_JGT: Final = 0x25
_JGE: Final = 0x35
_JSET: Final = 0x45
_RET_K: Final = 0x06
_TAX: Final = 0x07
_TXA: Final = 0x87

# Loads at these offsets read the packet's metadata (SKF_AD_OFF + n, linux/filter.h).
_METADATA: Final = 0xFFFF_F000
_PACKET_TYPE: Final = _METADATA + 4
_LINK_TYPE: Final = _METADATA + 28
_RANDOM: Final = _METADATA + 56

_PACKET_HOST: Final = 0  # not for others (promiscuous mode, VLANs no one has), no broadcast
_LOOPBACK: Final = 772  # ARPHRD_LOOPBACK
_TCP: Final = 6
_OPTIONS_HEADERS: Final = (0, 43, 60)  # hop-by-hop, routing, destination options
_FRAGMENT: Final = 44
_SYN: Final = 0x02
_FIN_SYN_RST_ACK: Final = 0x17


@dataclass(frozen=True, slots=True)
class Op:
    """One instruction; a jump names the labels it goes to, and an empty name is the next instruction."""

    code: int
    k: int = 0
    then: str = ""
    otherwise: str = ""


def assemble(lines: Sequence[Op | str]) -> bytes:
    """Return a program as an array of ``struct sock_filter``; a string among the lines is a label.

    Raises:
        ValueError: A label that is not there, lies behind, or is too far for a jump.
    """
    places: dict[str, int] = {}
    ops: list[Op] = []
    for line in lines:
        if isinstance(line, str):
            places[line] = len(ops)
        else:
            ops.append(line)
    return b"".join(_encode(op, number, places) for number, op in enumerate(ops))


def _encode(op: Op, number: int, places: dict[str, int]) -> bytes:
    def distance(label: str, most: int) -> int:
        steps = places.get(label, number + 1 if not label else -1) - number - 1
        if not 0 <= steps <= most:
            raise ValueError(f'instruction {number} cannot jump to "{label}"')
        return steps

    if op.code == _JA:
        return struct.pack("=HBBI", op.code, 0, 0, distance(op.then, 4095))
    return struct.pack("=HBBI", op.code, distance(op.then, 255), distance(op.otherwise, 255), op.k)


def nothing() -> bytes:
    """Return a program that keeps no packet."""
    return assemble([Op(_RET_K, 0)])


def syns(version: int, one_in: int, ports: frozenset[int] | None) -> bytes:
    """Return a program that keeps one in ``one_in`` (a power of two) of arriving SYNs over IP ``version`` 4 or 6.

    Of all packets it looks at one in ``one_in``, drawn at random, and lets the others go after three instructions.

    A SYN here is what alone can open a connection, as ``iptables --syn`` has it: SYN set; ACK, RST and FIN clear. Kept
    are those addressed to this host's link address, to one of ``ports`` (None, or more than ``MAX_PORTS``: any), and
    not over loopback. Not seen: what was dropped before the IP layer (XDP, tc, an nftables ingress hook); a SYN whose
    flags come in a later fragment; IPv6 behind more than ``EXTENSION_HEADERS`` headers, 376 bytes of them, or IPsec.
    """
    if one_in < 1 or one_in & (one_in - 1):
        raise ValueError("one_in must be a power of two")
    return assemble(
        [
            *_let_most_go(one_in),
            *(_find_tcp_in_ipv4() if version == 4 else _find_tcp_in_ipv6()),
            Op(_LD_H_IND, 14),  # the window: a load beyond the packet's end lets it go
            Op(_LD_B_IND, 13),
            Op(_AND_K, _FIN_SYN_RST_ACK),
            Op(_JEQ, _SYN, otherwise="drop"),
            Op(_LD_W_ABS, _PACKET_TYPE),
            Op(_JEQ, _PACKET_HOST, otherwise="drop"),
            Op(_LD_W_ABS, _LINK_TYPE),
            Op(_JEQ, _LOOPBACK, then="drop"),
            *_match_ports(ports),
            "wanted",
            Op(_RET_K, SNAP if version == 4 else SNAP6),
            "drop",
            Op(_RET_K, 0),
        ]
    )


def _let_most_go(one_in: int) -> list[Op | str]:
    """Draw before looking: the more packets come, the fewer are looked at, and the less each of them costs."""
    if one_in == 1:
        return []
    return [
        Op(_LD_W_ABS, _RANDOM),
        Op(_AND_K, one_in - 1),
        Op(_JEQ, 0, then="drawn"),
        Op(_RET_K, 0),
        "drawn",
    ]


def _find_tcp_in_ipv4() -> list[Op | str]:
    """Leave X at the TCP header."""
    return [
        Op(_LD_B_ABS, 9),
        Op(_JEQ, _TCP, otherwise="drop"),
        Op(_LD_B_ABS, 0),
        Op(_JGE, 0x45, otherwise="drop"),
        Op(_JGE, 0x50, then="drop"),
        Op(_LD_H_ABS, 6),
        Op(_JSET, 0x1FFF, then="drop"),
        Op(_LDX_B_MSH, 0),
    ]


def _find_tcp_in_ipv6() -> list[Op | str]:
    """Walk the extension headers, unrolled since classic BPF jumps forward only; leave X at the TCP header."""
    lines: list[Op | str] = [
        Op(_LD_B_ABS, 0),
        Op(_AND_K, 0xF0),
        Op(_JEQ, 0x60, otherwise="none"),
        Op(_LDX_IMM, 40),
        Op(_LD_B_ABS, 6),
    ]
    for level in range(EXTENSION_HEADERS):
        options, fragment, after = f"options{level}", f"fragment{level}", f"after{level}"
        lines += [
            Op(_JEQ, _TCP, then="tcp"),
            *(Op(_JEQ, kind, then=options) for kind in _OPTIONS_HEADERS),
            Op(_JEQ, _FRAGMENT, then=fragment, otherwise="none"),
            options,
            Op(_LD_B_IND, 0),
            Op(_ST, 0),
            Op(_LD_B_IND, 1),
            Op(_ADD_K, 1),
            Op(_LSH_K, 3),
            Op(_JA, then=after),
            fragment,
            Op(_LD_H_IND, 2),
            Op(_JSET, 0xFFF8, then="none"),
            Op(_LD_B_IND, 0),
            Op(_ST, 0),
            Op(_LD_IMM, 8),
            after,
            Op(_ADD_X),
            Op(_TAX),
            Op(_LD_MEM, 0),
        ]
    return [
        *lines,
        Op(_JEQ, _TCP, then="tcp"),
        "none",  # of its own, since no jump reaches to the end
        Op(_RET_K, 0),
        "tcp",
        Op(_TXA),
        Op(_JGT, SNAP6 - TCP_NEEDED, then="drop"),
    ]


def _match_ports(ports: frozenset[int] | None) -> list[Op | str]:
    if ports is None or ports is EVERY_PORT or len(ports) > MAX_PORTS:
        return []
    return [Op(_LD_H_IND, 2), *(Op(_JEQ, port, then="wanted") for port in sorted(ports)), Op(_JA, then="drop")]
