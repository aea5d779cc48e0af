"""The far end of the wire that ``in_own_network`` lays, for frames made by hand."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.own_network import mac_of
from tests.support.syn_packets import ethernet


class Wire:
    """A raw socket on ``wire1``; what it sends arrives on ``wire0``."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.bind(("wire1", 0))
        self._mac = mac_of("wire0")

    def send(self, kind: int, *packets: bytes, tags: tuple[tuple[int, int], ...] = (), to: bytes | None = None) -> None:
        """Send packets of one protocol, tagged (protocol, VLAN number), to the near end or to another link address."""
        header = ethernet(to or self._mac, kind, b"", tags)
        for packet in packets:
            self._socket.send(header + packet)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


@contextmanager
def wire() -> Iterator[Wire]:
    """Hold the far end open."""
    end = Wire()
    try:
        yield end
    finally:
        end.close()
