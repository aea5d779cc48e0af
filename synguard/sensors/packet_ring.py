"""A packet socket whose kept packets the kernel writes into memory that is shared with us."""

from __future__ import annotations

import array
import mmap
import socket
import struct
from typing import Final, Self

import numpy as np

from synguard.columns import U8, U32
from synguard.sensors.bpf import SNAP, SNAP6, nothing

_SO_ATTACH_FILTER: Final = 26
_SOL_PACKET: Final = 263
_PACKET_RX_RING: Final = 5
_PACKET_STATISTICS: Final = 6
_PACKET_VERSION: Final = 10
_TPACKET_V2: Final = 1

_NET: Final = 80
"""Bytes before each packet, as TPACKET_V2 lays them out for SOCK_DGRAM."""
FRAME: Final = _NET + SNAP
"""Bytes of ring that an IPv4 packet takes: 256."""
FRAME6: Final = _NET + SNAP6
"""Bytes of ring that an IPv6 packet takes: 512."""
_BLOCK: Final = 1 << 16
_STATUS: Final = 0  # in words of 32 bits
_SNAPLEN: Final = 2
_NET_AT: Final = 14  # offset of tp_net, in bytes
_USER: Final = np.uint32(1)
_FIRST_LOOK: Final = 256


class PacketRing:
    """All packets of one protocol that arrive in this network namespace, on any interface, as one filter keeps them.

    Bound to a protocol rather than to all of them (``ETH_P_ALL``), a packet is seen once, at the place where the IP
    layer takes it; else it would be seen at each of the VLANs, bonds and bridges that it crosses. VLAN tags are gone by
    then, outgoing packets do not come by, and netfilter has not yet had its say. The ring holds frames of one size, so
    a read is a strided copy. Opened with a filter that keeps nothing.

    Raises:
        OSError: No permission, no memory, or no packet sockets in this kernel.

    Source: Linux networking/packet_mmap.rst; ``__netif_receive_skb_core`` in net/core/dev.c.
    """

    _memory: mmap.mmap
    _octets: U8
    _words: U32

    def __init__(self, protocol: int, frames: int, frame: int = FRAME) -> None:
        self.lost = 0
        self._frame = frame
        self._per_block = _BLOCK // frame
        self._blocks = max(1, -(-frames // self._per_block))
        self._cursor = 0
        # Bound as it is created, since Python cannot bind to all interfaces later; what comes in before the
        # filter is attached goes to the ordinary queue, which becoming a ring throws away.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, socket.htons(protocol))
        try:
            self.attach(nothing())
            self._map()
            self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)  # reading sets it to zero
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def frames(self) -> int:
        """How many packets it holds."""
        return self._blocks * self._per_block

    def attach(self, program: bytes) -> None:
        """Put a filter in place of the present one; packets on their way through the old one may still arrive.

        Raises:
            OSError: The kernel refused it.
        """
        code = array.array("B", program)
        fprog = struct.pack("HP", len(program) // 8, code.buffer_info()[0])  # struct sock_fprog
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)

    def read(self) -> tuple[U8, U32]:
        """Return copies of the packets in the ring (uint8, a frame's worth each) with their lengths, and make room.

        At most ``frames`` of them, in the order of arrival. Adds to ``lost`` what found the ring full.
        """
        parts: list[tuple[U8, U32]] = []
        left = self.frames
        while left:
            ready = self._ready(min(left, self.frames - self._cursor))
            if not ready:
                break
            parts.append(self._take(ready))
            left -= ready
        _seen, lost = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self.lost += lost
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return np.empty((0, self._frame - _NET), np.uint8), np.empty(0, np.uint32)
        return np.concatenate([packets for packets, _ in parts]), np.concatenate([lengths for _, lengths in parts])

    def close(self) -> None:
        """Free the socket and its memory."""
        self._octets = np.empty((0, self._frame), np.uint8)
        self._words = np.empty((0, self._frame // 4), np.uint32)
        self._memory.close()
        self._socket.close()

    def _map(self) -> None:
        self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V2)
        self._socket.setsockopt(
            _SOL_PACKET, _PACKET_RX_RING, struct.pack("=IIII", _BLOCK, self._blocks, self._frame, self.frames)
        )
        self._memory = mmap.mmap(self._socket.fileno(), self._blocks * _BLOCK)
        self._octets = np.frombuffer(self._memory, dtype=np.uint8).reshape(self.frames, self._frame)
        self._words = self._octets.view(np.uint32)

    def _ready(self, at_most: int) -> int:
        """Return how many frames from the cursor on the kernel has handed over; looks at few where there are few.

        CPUs may finish frames out of order, so the count ends at the first that is not ready.
        """
        ready, look = 0, _FIRST_LOOK
        while ready < at_most:
            start = self._cursor + ready
            handed = self._words[start : start + min(look, at_most - ready), _STATUS] & _USER
            if not handed.all():
                return ready + int(handed.argmin())
            ready += len(handed)
            look *= 4
        return ready

    def _take(self, count: int) -> tuple[U8, U32]:
        frames = slice(self._cursor, self._cursor + count)
        net = self._octets[frames, _NET_AT : _NET_AT + 2].copy().view(np.uint16)
        packets = self._octets[frames, _NET:].copy()
        # A packet that does not begin where it should counts as empty; the kernel puts none elsewhere.
        lengths = np.where(net[:, 0] == _NET, self._words[frames, _SNAPLEN], np.uint32(0))
        self._words[frames, _STATUS] = 0
        self._cursor = (self._cursor + count) % self.frames
        return packets, lengths
