"""Who is connected to what listens here: readings of the socket table for the agent and for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from synguard.addresses import address_of
from synguard.errors import SensorError
from synguard.readings import Listener, SocketReading
from synguard.sensors import psutil_tables
from synguard.sensors.busiest import MANY, busiest, stands_for
from synguard.sensors.inet_diag import SocketRows, UnavailableError
from synguard.sensors.listener_names import ListenerNames, process_name
from synguard.sensors.port_mask import mask_of, ports_in
from synguard.sensors.psutil_tables import Owned
from synguard.sensors.sock_diag import SockDiag
from synguard.socket_table import CONNECTED, SocketTable, TcpState, local_ports

_LISTENING: Final = frozenset({TcpState.LISTEN})
_HALF_OPEN: Final = frozenset({TcpState.SYN_RECV})
_COMPLETED: Final = CONNECTED | {TcpState.TIME_WAIT}
STANDS_FOR_S: Final = 5.0
"""How long a table without half-open sockets is taken for the present one while no segment comes in."""
MOST_SERVED: Final = 64
"""Ports without a listener that are learned from half-open sockets; more would take the host's own connections in."""


class SocketTables:
    """The socket table of this network namespace, by sock_diag, or by psutil once that is refused.

    "Listens" means in this namespace: connections to containers, and those this host opened, are not counted.
    A port that had half-open sockets is served, whether a socket listens on it or not.
    """

    def __init__(self, diag: SockDiag | None = None, arrived: Callable[[], int] | None = None) -> None:
        """``arrived`` tells how many segments TCP was ever handed; without it every table is read anew."""
        self._diag = diag or SockDiag()
        self._arrived = arrived
        self._read: dict[frozenset[TcpState], tuple[float, int, SocketRows]] = {}
        """States → when their table was read, the segments until then, and its rows."""
        self._refusal: UnavailableError | None = None
        self._names = ListenerNames()
        self._served: set[int] = set()
        self._listening: tuple[float, SocketRows] | None = None
        self._by_psutil: tuple[float, Owned] | None = None
        self._waiting: tuple[float, SocketTable] | None = None

    @property
    def source(self) -> str:
        """``sock_diag``, or ``psutil`` once the kernel has refused that."""
        return "psutil" if self._refusal else "sock_diag"

    @property
    def refusal(self) -> str:
        """Why sock_diag is not used, one sentence; empty while it is."""
        return str(self._refusal or "")

    def half_open(self, now: float) -> SocketReading:
        """Return sockets in ``SYN_RECV``; each is incoming, also on a port that no socket listens on.

        With TPROXY and sk_lookup the kernel hands connections to a listener on another port.

        Raises:
            SensorError: No whole table could be had.
        """
        table = self._waiting_rows(now)
        self._waiting = now, table
        elsewhere = set(local_ports(table)).difference(self.served_ports(now), self._served)
        self._served.update(sorted(elsewhere)[: MOST_SERVED - len(self._served)])
        return SocketReading(now, table, self.source)

    def count_half_open(self) -> int:
        """Return how many sockets are in ``SYN_RECV``.

        Raises:
            SensorError: No whole table could be had.
        """
        rows = self._diag_tcp(_HALF_OPEN)
        return len(self._read_by_psutil().table if rows is None else rows)

    def connections(self, now: float) -> SocketReading:
        """Return sockets past the handshake, ``TIME_WAIT`` included, whose local port listens or had half-open ones.

        Raises:
            SensorError: No whole table could be had.
        """
        listening = mask_of(self._listening_rows(now).local_port)
        listening[list(self._served)] = True
        table = self._in(now, _COMPLETED)
        return SocketReading(now, table.where(listening[table.local_port]), self.source)

    def listeners(self, now: float) -> tuple[Listener, ...]:
        """Return the listening TCP sockets, by port; names are looked for at a slow cadence.

        Where half-open sockets were read at the same moment, those that matter to a tick; see ``busiest``.

        Raises:
            SensorError: No whole table could be had.
        """
        table = self._listening_rows(now)
        looked_at = np.arange(len(table))
        if self._waiting is not None and self._waiting[0] == now:
            looked_at = busiest(table, self._waiting[1])
        found = [
            Listener(
                address=address_of(int(table.local_high[row]), int(table.local_low[row])),
                port=int(table.local_port[row]),
                backlog=int(table.send_queue[row]),
                accept_queue=int(table.recv_queue[row]),
                process=name,
            )
            for row, name in zip(looked_at.tolist(), self._names_of(looked_at, now), strict=True)
        ]
        return tuple(sorted(found, key=lambda listener: (listener.port, listener.address.version, listener.address)))

    def served_ports(self, now: float) -> frozenset[int]:
        """Return the ports that sockets listen on, the same object for as long as they are the same.

        Raises:
            SensorError: No whole table could be had.
        """
        return ports_in(mask_of(self._listening_rows(now).local_port))

    def tcp(self, states: Iterable[TcpState]) -> SocketTable:
        """Return every TCP socket in one of ``states``, whichever end opened it.

        Raises:
            SensorError: No whole table could be had.
        """
        wanted = frozenset(states)
        rows = self._diag_tcp(wanted)
        return rows.table if rows is not None else _in_states(self._read_by_psutil().table, wanted)

    def udp(self) -> SocketTable:
        """Return every UDP socket: connected ones ``ESTABLISHED``, the others ``CLOSE``.

        Raises:
            SensorError: No whole table could be had.
        """
        if not self._refusal:
            try:
                return self._diag.udp().table
            except UnavailableError:  # udp_diag may be missing where tcp_diag works
                return psutil_tables.udp_table()
        return psutil_tables.udp_table()

    def close(self) -> None:
        """Give back what the sensor holds open."""
        self._diag.close()

    def _in(self, now: float, states: frozenset[TcpState]) -> SocketTable:
        rows = self._latest(now, states)
        return rows.table if rows is not None else _in_states(self._by_psutil_at(now).table, states)

    def _latest(self, now: float, states: frozenset[TcpState]) -> SocketRows | None:
        """Return a table by sock_diag, read now unless no segment has come since it was; None where that is refused."""
        try:
            arrived = self._arrived() if self._arrived else None  # before the dump: what comes meanwhile counts anew
        except SensorError:
            arrived = None
        if arrived is None:
            return self._diag_tcp(states)
        last = self._read.get(states)
        if last is not None and last[1] == arrived and last[0] <= now < last[0] + STANDS_FOR_S:
            return last[2]
        rows = self._diag_tcp(states)
        self._read.pop(states, None)
        if rows is not None and len(rows) <= MANY and not (rows.table.state == TcpState.SYN_RECV).any():
            self._read[states] = now, arrived, rows
        return rows

    def _waiting_rows(self, now: float) -> SocketTable:
        """Return half-open sockets; listening ones come in the same dump, whose fixed cost is a walk of the hash."""
        if self._listening_due(now):
            rows = self._latest(now, _LISTENING | _HALF_OPEN)
            if rows is not None:
                listens = rows.table.state == TcpState.LISTEN
                self._listening = now, rows.where(listens)
                return rows.table.where(~listens)
        return self._in(now, _HALF_OPEN)

    def _listening_due(self, now: float) -> bool:
        """Return whether listening sockets were not read at ``now``; very many of them are read less often."""
        last = self._listening
        return last is None or not (last[0] == now or last[0] <= now < last[0] + stands_for(len(last[1])))

    def _listening_rows(self, now: float) -> SocketTable:
        """Return the listening sockets, read once per moment ``now``; very many of them more seldom."""
        if not self._refusal and self._listening_due(now):
            rows = self._diag_tcp(_LISTENING)
            self._listening = None if rows is None else (now, rows)
        if self._listening and not self._refusal:
            return self._listening[1].table
        return _in_states(self._by_psutil_at(now).table, _LISTENING)

    def _names_of(self, rows: npt.NDArray[np.int64], now: float) -> list[str]:
        """Return the names of the processes that hold these rows of the listening sockets."""
        if self._listening and not self._refusal:
            return self._names.names(self._listening[1].inode[rows], now)
        owned = self._by_psutil_at(now)
        pids = owned.pid[owned.table.state == TcpState.LISTEN][rows]
        return [process_name(int(pid)) if pid else "" for pid in pids]

    def _diag_tcp(self, states: frozenset[TcpState]) -> SocketRows | None:
        """Return a table by sock_diag, or None where, now or ever since, the kernel refuses it."""
        if not self._refusal:
            try:
                return self._diag.tcp(states)
            except UnavailableError as refusal:
                self._refusal = refusal
        return None

    def _by_psutil_at(self, now: float) -> Owned:
        """Return psutil's table of all states, read once per moment ``now``: it costs the same for any of them."""
        if self._by_psutil is None or self._by_psutil[0] != now:
            self._by_psutil = (now, self._read_by_psutil())
        return self._by_psutil[1]

    def _read_by_psutil(self) -> Owned:
        try:
            return psutil_tables.tcp_table()
        except SensorError as error:
            raise SensorError(f"{self.refusal}; {error}") from error


def _in_states(table: SocketTable, states: frozenset[TcpState]) -> SocketTable:
    return table.where(np.isin(table.state, list(states)))
