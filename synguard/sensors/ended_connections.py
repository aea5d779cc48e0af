"""Connections as the kernel lets go of them: also those that are over long before anyone looks at the socket table.

The kernel tells who listens of every TCP socket that it destroys, with its addresses (``ss --events`` shows the same).
Only a completed handshake makes such a socket, so nothing of this can be forged. Some 3 µs a connection here and as
much in the kernel, while it is asked for. A socket hears of its own network namespace: each has one of its own.

Source: net/core/sock_diag.c ``sock_diag_broadcast_destroy``; Linux 4.2 and later.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np

from synguard.errors import SensorError
from synguard.netlink import open_sock_diag
from synguard.sensors.inet_diag import decode, turned_away
from synguard.socket_table import SocketTable

Opener: TypeAlias = Callable[[], socket.socket]
"""Opens a socket-diagnosis socket in one namespace."""
Namespaces: TypeAlias = Mapping[str, Opener]
"""Namespace → opener; our own, whose name is empty, comes first."""

MOST_AT_ONCE: Final = 4_096
"""Connections taken in one read, of each namespace as many; the kernel keeps some seconds' worth of others, and then
throws away."""
_SOL_NETLINK: Final = 270
_ADD_MEMBERSHIP: Final = 1
_TCP_DESTROYED: Final = (1, 3)
"""``SKNLGRP_INET_TCP_DESTROY`` and ``SKNLGRP_INET6_TCP_DESTROY``."""
_SO_RCVBUFFORCE: Final = 33
_RECEIVE_BUFFER: Final = 8 << 20
_ELSEWHERE: Final = 1 << 20
"""The same for another namespace, of which there may be dozens."""
_DATAGRAM: Final = 2048
"""A message is 380 bytes."""
_FROM_THE_KERNEL: Final = 0
"""Sequence number of what no one asked for."""


class EndedConnections:
    """Told of TCP sockets as they are destroyed, here and in other namespaces; while closed it costs nothing.

    One of the others that cannot be listened to is left out. ``as_published`` gives sockets of a namespace the ports
    that clients write.
    """

    def __init__(
        self,
        namespaces: Callable[[], Namespaces] = lambda: {"": open_sock_diag},
        as_published: Callable[[str, SocketTable], SocketTable] = lambda _, table: table,
    ) -> None:
        self._namespaces, self._as_published = namespaces, as_published
        self._sockets: dict[str, tuple[Opener, socket.socket | None]] = {}
        self._buffer = bytearray()

    @property
    def running(self) -> bool:
        """Whether it is open."""
        return bool(self._sockets)

    def open(self) -> None:
        """Begin to listen; no effect while open.

        Raises:
            SensorError: The kernel does not tell, or not this process.
        """
        if not self._sockets:
            self._follow()
            self._buffer = bytearray(MOST_AT_ONCE * _DATAGRAM)

    def read(self) -> SocketTable:
        """Return the TCP sockets that were destroyed since the last read, at most ``MOST_AT_ONCE``.

        Raises:
            SensorError: It is not open, or the kernel sent what cannot be read.
        """
        if not self._sockets:
            raise SensorError("ended connections are not listened to")
        self._follow()
        opened = {name: one for name, (_, one) in self._sockets.items() if one is not None}
        tables = []
        for name, one in opened.items():
            try:
                tables.append(self._as_published(name, self._take(one, MOST_AT_ONCE // len(opened))))
            except SensorError:
                if not name:
                    raise
                self._sockets[name] = self._sockets[name][0], None
                one.close()
        return SocketTable.joined(tables)

    def close(self) -> None:
        """Stop listening; no effect while closed."""
        for name in list(self._sockets):
            self._leave(name)
        self._buffer = bytearray()

    def _follow(self) -> None:
        """Listen to each namespace that there is, and to no other."""
        wanted = self._namespaces()
        for name in [name for name, (opener, _) in self._sockets.items() if wanted.get(name) != opener]:
            self._leave(name)
        for name, opener in wanted.items():
            if name in self._sockets:
                continue
            try:
                self._sockets[name] = opener, _listening(opener, _ELSEWHERE if name else _RECEIVE_BUFFER)
            except SensorError:
                if not name:
                    raise
                self._sockets[name] = opener, None

    def _leave(self, name: str) -> None:
        opened = self._sockets.pop(name)[1]
        if opened is not None:
            opened.close()

    def _take(self, source: socket.socket, most: int) -> SocketTable:
        view, used = memoryview(self._buffer), 0
        starts: list[int] = []
        for _ in range(most):
            try:
                size = source.recv_into(view[used : used + _DATAGRAM], _DATAGRAM)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.ENOBUFS:  # some were thrown away; what is left is as good as before
                    continue
                raise SensorError(f"ended connections cannot be read: {error.strerror or error}") from error
            starts.append(used // 4)
            used += (size + 3) & ~3
        if not used:
            return SocketTable.none()
        words = np.frombuffer(self._buffer, np.uint32, used // 4)
        table = decode(words, _FROM_THE_KERNEL).sockets.table
        return replace(table, recv_queue=turned_away(words, np.array(starts[: len(table)], np.int64)))


def _listening(opener: Opener, buffer: int) -> socket.socket:
    """Return a socket that is told of destroyed ones.

    Raises:
        SensorError: The kernel does not tell, or not this process.
    """
    try:
        opened = opener()
        try:
            opened.setblocking(False)
            with contextlib.suppress(PermissionError):  # then it is as large as anyone's
                opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer)
            opened.bind((0, 0))
            for group in _TCP_DESTROYED:
                opened.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        except BaseException:
            opened.close()
            raise
    except OSError as error:
        raise SensorError(f"ended connections cannot be listened to: {error.strerror or error}") from error
    return opened
