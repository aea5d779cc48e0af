"""Netlink messages as the kernel sends them in socket dumps, and a socket that plays them back."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, ip_address

import numpy as np
import numpy.typing as npt

SOCK_DIAG_BY_FAMILY = 20
NLMSG_ERROR = 2
NLMSG_DONE = 3


def message(kind: int, body: bytes, sequence: int, flags: int = 2) -> bytes:
    """Return one message, padded to whole words."""
    header = struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 4711)
    return header + body + bytes(-len(body) % 4)


def row(
    sequence: int,
    *,
    state: int = 3,
    local: str = "192.0.2.1",
    local_port: int = 80,
    remote: str = "198.51.100.7",
    remote_port: int = 1025,
    queues: tuple[int, int] = (0, 0),
    inode: int = 0,
    attributes: bytes = b"",
    flags: int = 2,
) -> bytes:
    """Return one socket's message."""
    source, target = ip_address(local), ip_address(remote)
    family = socket.AF_INET if isinstance(source, IPv4Address) else socket.AF_INET6
    body = struct.pack("=BBBB", family, state, 0, 0) + struct.pack(">HH", local_port, remote_port)
    body += source.packed.ljust(16, b"\0") + target.packed.ljust(16, b"\0")
    body += struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)  # interface, cookie
    body += struct.pack("=IIIII", 664, *queues, 1000, inode)
    return message(SOCK_DIAG_BY_FAMILY, body + attributes, sequence, flags)


def done(sequence: int, error: int = 0, flags: int = 2) -> bytes:
    """Return the end of a dump; ``error`` is 0 or a negative errno."""
    return message(NLMSG_DONE, struct.pack("=i", error), sequence, flags)


def refused(sequence: int, error: int) -> bytes:
    """Return an error message; ``error`` is a negative errno."""
    return message(NLMSG_ERROR, struct.pack("=i", error) + bytes(16), sequence)


def words(data: bytes) -> npt.NDArray[np.uint32]:
    """Return bytes as the words that the decoder reads."""
    return np.frombuffer(data, np.uint32)


Answer = Callable[[int], bytes] | OSError


class PlayedSocket:
    """Answers each receive with the next datagram, made for the sequence number of the last request."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        """Play ``answers`` in order; then time out, as the real socket does."""
        self._answers = list(answers)
        self.sequence = 0
        self.requests: list[bytes] = []
        self.closed = False

    def send(self, data: bytes, /) -> int:
        """Note the request."""
        self.requests.append(data)
        self.sequence = struct.unpack_from("=I", data, 8)[0]
        return len(data)

    def recv_into(self, buffer: memoryview, nbytes: int, flags: int, /) -> int:
        """Give the next datagram, cut to the buffer but with its true size returned (``MSG_TRUNC``)."""
        if not self._answers:
            raise BlockingIOError
        answer = self._answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        data = answer(self.sequence)
        kept = data[:nbytes]
        buffer[: len(kept)] = kept
        return len(data)

    def close(self) -> None:
        """Note the closing."""
        self.closed = True
