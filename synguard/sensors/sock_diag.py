"""Socket tables over ``NETLINK_SOCK_DIAG``: whole, or an error.

Measured on 6.18: 0.3 ms fixed (a walk of the kernel's hash, for both families at once) and 0.6 µs a socket, of
which decoding is a fifth. The hash is the host's: sockets of other network namespaces are passed over, not free, at
0.1 µs each.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from synguard.errors import SensorError
from synguard.netlink import open_sock_diag
from synguard.sensors.inet_diag import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    SOCK_DIAG_BY_FAMILY,
    TCPDIAG_GETSOCK,
    UDP_STATES,
    DumpRequest,
    InterruptedDumpError,
    SocketRows,
    UnavailableError,
    decode,
    ends_dump,
    join,
    refusal,
)
from synguard.socket_table import TcpState

MOST_SOCKETS: Final = 2_000_000
"""More than any host holds; beyond it a dump is an error, so that memory stays bounded (53 bytes a socket)."""
ATTEMPTS: Final = 4
APART_S: Final = (0.001, 0.010)
"""Between two attempts, by chance."""
ANSWER_WITHIN_S: Final = 2.0

_SO_RCVBUFFORCE: Final = 33
_RECEIVE_BUFFER: Final = 4 << 20
_DATAGRAM: Final = 64 << 10
"""Room offered for one datagram; the kernel fills at most 32 KiB and learns from this that it may."""
_CHUNK: Final = 1 << 20
"""Bytes decoded at a time: large enough that numpy's fixed costs vanish, small enough to stay in cache."""
_TCP_AT_ONCE: Final = (DumpRequest(TCPDIAG_GETSOCK, AF_UNSPEC, socket.IPPROTO_TCP),)
_TCP_BY_FAMILY: Final = tuple(
    DumpRequest(SOCK_DIAG_BY_FAMILY, family, socket.IPPROTO_TCP) for family in (AF_INET, AF_INET6)
)
_UDP: Final = tuple(DumpRequest(SOCK_DIAG_BY_FAMILY, family, socket.IPPROTO_UDP) for family in (AF_INET, AF_INET6))


def open_socket() -> socket.socket:
    """Return a socket for dumps that the kernel alone may write to, and that never blocks for long.

    Raises:
        OSError: Netlink or ``NETLINK_SOCK_DIAG`` is refused here.
    """
    opened = open_sock_diag()
    try:
        try:
            opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        except PermissionError:  # needs CAP_NET_ADMIN; the plain option is capped at net.core.rmem_max
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        timeout = struct.pack("ll", int(ANSWER_WITHIN_S), int(ANSWER_WITHIN_S % 1 * 1e6))
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        opened.connect((0, 0))
    except OSError:
        opened.close()
        raise
    return opened


class SockDiag:
    """Dumps of this network namespace's sockets; one at a time, not to be shared between threads."""

    def __init__(self, opener: Callable[[], socket.socket] = open_socket) -> None:
        self._open = opener
        self._socket: socket.socket | None = None
        self._bytes = memoryview(bytearray(_CHUNK))
        self._buffer = np.frombuffer(self._bytes, np.uint32)
        self._tcp: tuple[DumpRequest, ...] = _TCP_AT_ONCE

    def tcp(self, states: Iterable[TcpState]) -> SocketRows:
        """Return every TCP socket of both families in one of ``states``, half-open ones as ``SYN_RECV``.

        Raises:
            UnavailableError: The kernel refuses socket dumps to this process.
            SensorError: No whole table could be had.
        """
        wanted = frozenset(states)
        if self._tcp is _TCP_AT_ONCE:
            try:
                return self._ask(self._tcp, wanted)
            except UnavailableError:  # a kernel that has dropped the old request may still know the new one
                table = self._ask(_TCP_BY_FAMILY, wanted)
                self._tcp = _TCP_BY_FAMILY
                return table
        return self._ask(self._tcp, wanted)

    def udp(self) -> SocketRows:
        """Return every UDP socket of both families: connected ones ``ESTABLISHED``, the others ``CLOSE``.

        Raises:
            UnavailableError: The kernel refuses socket dumps to this process.
            SensorError: No whole table could be had.
        """
        return self._ask(_UDP, UDP_STATES)

    def close(self) -> None:
        """Close the socket; the next dump would open another."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def _ask(self, questions: tuple[DumpRequest, ...], states: frozenset[TcpState]) -> SocketRows:
        return join([self._whole(question, states) for question in questions])

    def _whole(self, question: DumpRequest, states: frozenset[TcpState]) -> SocketRows:
        """Return one dump, asked for again where it was interrupted."""
        attempt = 1
        while True:
            try:
                return self._dump(question, states)
            except InterruptedDumpError as error:
                if attempt == ATTEMPTS:
                    raise SensorError(f"{error}, {ATTEMPTS} times in a row: no socket table this time") from error
            attempt += 1
            time.sleep(random.uniform(*APART_S))  # noqa: S311  # guards nothing

    def _dump(self, question: DumpRequest, states: frozenset[TcpState]) -> SocketRows:
        """Return one whole dump; whatever goes wrong, the socket is not used again."""
        try:
            return self._receive(question, states)
        except BlockingIOError as error:
            self.close()
            raise SensorError(f"the kernel did not answer a socket dump within {ANSWER_WITHIN_S:g} s") from error
        except OSError as error:
            self.close()
            raise refusal(error.errno or 0) from error
        except BaseException:
            self.close()
            raise

    def _receive(self, question: DumpRequest, states: frozenset[TcpState]) -> SocketRows:
        if self._socket is None:
            self._socket = self._open()
        sequence = random.getrandbits(32) | 0x01000000  # tells our messages apart; guards nothing
        deadline = time.monotonic() + 5 * ANSWER_WITHIN_S
        self._socket.send(question.encode(states, sequence))
        parts: list[SocketRows] = []
        used = rows = 0
        while True:
            start, used = used, used + self._datagram(self._socket, used)
            full = 4 * len(self._buffer) - used < _DATAGRAM
            if full or ends_dump(self._buffer[start // 4 : used // 4], sequence):
                part = decode(self._buffer[: used // 4], sequence)
                parts.append(part.sockets)
                if part.done:
                    return join(parts)
                used, rows = 0, rows + len(part.sockets)
            if rows > MOST_SOCKETS or time.monotonic() > deadline:
                raise SensorError(f"the socket dump did not end: {rows} sockets after {5 * ANSWER_WITHIN_S:g} s")

    def _datagram(self, source: socket.socket, offset: int) -> int:
        """Receive one datagram at ``offset`` of the buffer; return its size, padded to whole words."""
        size = source.recv_into(self._bytes[offset : offset + _DATAGRAM], _DATAGRAM, socket.MSG_TRUNC)
        if size > _DATAGRAM or size == 0:
            raise SensorError(f"the kernel sent a socket dump in a piece of {size} bytes, which cannot be read")
        padded = (size + 3) & ~3
        self._bytes[offset + size : offset + padded] = bytes(padded - size)
        return padded
