"""One other network namespace, read from ours: its sockets and counters, through descriptors opened inside it once."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Final

from synguard.errors import SensorError
from synguard.netlink import open_sock_diag
from synguard.sensors.busiest import busiest, stands_for
from synguard.sensors.counters import CounterFiles
from synguard.sensors.inet_diag import SocketRows, join
from synguard.sensors.namespaces import Sighting, inside
from synguard.sensors.port_mask import mask_of
from synguard.sensors.sock_diag import SockDiag, open_socket
from synguard.socket_table import CONNECTED, SocketTable, TcpState

_HALF_OPEN: Final = frozenset({TcpState.SYN_RECV})
_WAITING: Final = _HALF_OPEN | {TcpState.LISTEN}
STANDS_FOR_S: Final = 1.0
"""How long a dump is taken for the present one while no segment comes in: half-open sockets only time out then."""
_COMPLETED: Final = CONNECTED | {TcpState.TIME_WAIT}


class NamespaceReader:
    """Holds one namespace open and reads it; netlink sockets and proc files stay bound to where they were opened.

    Listeners and half-open sockets come in one dump, for a dump's fixed cost is a walk of the whole machine's hash.
    """

    def __init__(self, sighting: Sighting, label: str) -> None:
        """Enter the namespace once.

        Raises:
            SensorError: It may not be entered, or is gone.
        """
        self.sighting = sighting
        self.label = label
        """What people call it; no two readers have the same."""
        self.descriptor = sighting.open()
        self._held = contextlib.ExitStack()
        self._held.callback(os.close, self.descriptor)
        self._diag = SockDiag(self._open_socket)
        self._held.callback(self._diag.close)
        self._waiting: tuple[float, SocketRows] | None = None
        self._many: tuple[float, SocketRows] | None = None
        """When listening sockets were read, where they are very many."""
        self._arrived_before = -1
        self._dumped_at = float("-inf")
        self._counters = CounterFiles(Path("/proc/thread-self/net"))
        self._held.callback(self._counters.close)
        try:
            inside(self.descriptor, self.counters)
        except SensorError:
            self.close()
            raise

    def close(self) -> None:
        """Let the namespace go."""
        self._held.close()

    def listening(self, now: float) -> SocketRows:
        """Return the listening sockets.

        Raises:
            SensorError: No whole table could be had.
        """
        rows = self._read(now)
        return rows.where(rows.table.state == TcpState.LISTEN)

    def half_open(self, now: float) -> SocketTable:
        """Return the sockets in ``SYN_RECV``.

        Raises:
            SensorError: No whole table could be had.
        """
        table = self._read(now).table
        return table.where(table.state == TcpState.SYN_RECV)

    def busiest(self, now: float) -> SocketRows:
        """Return the listening sockets that matter to a tick; see ``busiest``.

        Raises:
            SensorError: No whole table could be had.
        """
        rows = self.listening(now)
        return rows.where(busiest(rows.table, self.half_open(now)))

    def incoming(self, now: float) -> SocketTable:
        """Return the sockets past the handshake, ``TIME_WAIT`` included, whose local port listens here.

        Raises:
            SensorError: No whole table could be had.
        """
        listening = mask_of(self.listening(now).table.local_port)
        if not listening.any():
            return self.listening(now).table  # nothing listens: an empty table, without another dump
        table = self._diag.tcp(_COMPLETED).table
        return table.where(listening[table.local_port])

    def arrived(self) -> int:
        """Return how many segments TCP was handed in that namespace, ever: 30 µs, where a dump takes ten times that.

        Raises:
            SensorError: The counters cannot be read.
        """
        return self._counters.arrived()

    def counters(self) -> dict[str, int]:
        """Return the absolute TCP counters.

        Raises:
            SensorError: They cannot be read.
        """
        return dict(self._counters.read(0.0).values)

    def open_kernel(self) -> socket.socket:
        """Return a socket-diagnosis socket of that namespace, to be closed by the caller.

        Raises:
            SensorError: It may not be entered any more.
            OSError: No such socket is to be had.
        """
        return inside(self.descriptor, open_sock_diag)

    def _open_socket(self) -> socket.socket:
        return inside(self.descriptor, open_socket)

    def _read(self, now: float) -> SocketRows:
        """Return listening and half-open sockets; where no segment came in, those of up to a second ago stand."""
        if self._waiting is None or self._waiting[0] != now:
            arrived = self.arrived()  # before the dump, so that what comes between the two is dumped next time
            if self._waiting is None or arrived != self._arrived_before or now - self._dumped_at >= STANDS_FOR_S:
                self._waiting = (now, self._dump(now))
                self._arrived_before, self._dumped_at = arrived, now
            self._waiting = (now, self._waiting[1])
        return self._waiting[1]

    def _dump(self, now: float) -> SocketRows:
        """Return listening and half-open sockets; very many listening ones are not read anew each time."""
        if self._many is not None and self._many[0] <= now < self._many[0] + stands_for(len(self._many[1])):
            return join([self._many[1], self._diag.tcp(_HALF_OPEN)])
        rows = self._diag.tcp(_WAITING)
        listening = rows.where(rows.table.state == TcpState.LISTEN)
        self._many = (now, listening) if stands_for(len(listening)) else None
        return rows
