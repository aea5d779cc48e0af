"""Connections as the kernel lets go of them: also those that are over long before anyone looks at the socket table.

The kernel tells who listens of every TCP socket that it destroys, with its addresses (``ss --events`` shows the same).
Only a completed handshake makes such a socket, so nothing of this can be forged. Some 3 µs a connection here and as
much in the kernel, while it is asked for.

Source: net/core/sock_diag.c ``sock_diag_broadcast_destroy``; Linux 4.2 and later.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Final

import numpy as np

from synguard.errors import SensorError
from synguard.readings import SocketTable, empty_table
from synguard.sensors.inet_diag import decode

MOST_AT_ONCE: Final = 4_096
"""Connections taken in one read; the kernel keeps some seconds' worth of others, and then throws away."""
_NETLINK_SOCK_DIAG: Final = 4
_SOL_NETLINK: Final = 270
_ADD_MEMBERSHIP: Final = 1
_TCP_DESTROYED: Final = (1, 3)
"""``SKNLGRP_INET_TCP_DESTROY`` and ``SKNLGRP_INET6_TCP_DESTROY``."""
_SO_RCVBUFFORCE: Final = 33
_RECEIVE_BUFFER: Final = 8 << 20
_DATAGRAM: Final = 2048
"""A message is 380 bytes."""
_FROM_THE_KERNEL: Final = 0
"""Sequence number of what no one asked for."""


class EndedConnections:
    """Told of TCP sockets of this network namespace as they are destroyed; while closed it costs nothing."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._buffer = bytearray()

    @property
    def running(self) -> bool:
        """Whether it is open."""
        return self._socket is not None

    def open(self) -> None:
        """Begin to listen; no effect while open.

        Raises:
            SensorError: The kernel does not tell, or not this process.
        """
        if self._socket is not None:
            return
        try:
            opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG)
        except OSError as error:
            raise SensorError(f"ended connections cannot be listened to: {error.strerror or error}") from error
        try:
            opened.setblocking(False)
            with contextlib.suppress(PermissionError):  # then it is as large as anyone's
                opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
            opened.bind((0, 0))
            for group in _TCP_DESTROYED:
                opened.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        except OSError as error:
            opened.close()
            raise SensorError(f"ended connections cannot be listened to: {error.strerror or error}") from error
        self._socket, self._buffer = opened, bytearray(MOST_AT_ONCE * _DATAGRAM)

    def read(self) -> SocketTable:
        """Return the TCP sockets that were destroyed since the last read, at most ``MOST_AT_ONCE``.

        Raises:
            SensorError: It is not open, or the kernel sent what cannot be read.
        """
        if self._socket is None:
            raise SensorError("ended connections are not listened to")
        view, used = memoryview(self._buffer), 0
        for _ in range(MOST_AT_ONCE):
            try:
                size = self._socket.recv_into(view[used : used + _DATAGRAM], _DATAGRAM)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.ENOBUFS:  # some were thrown away; what is left is as good as before
                    continue
                raise SensorError(f"ended connections cannot be read: {error.strerror or error}") from error
            used += (size + 3) & ~3
        if not used:
            return empty_table()
        return decode(np.frombuffer(self._buffer, np.uint32, used // 4), _FROM_THE_KERNEL).sockets.table

    def close(self) -> None:
        """Stop listening; no effect while closed."""
        if self._socket is not None:
            self._socket.close()
            self._socket, self._buffer = None, bytearray()
