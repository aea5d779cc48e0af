"""Sockets and counters of this network namespace and of those behind it, as if they were one host."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, TypeVar

import numpy as np

from synguard.addresses import address_of
from synguard.columns import U64
from synguard.errors import SensorError
from synguard.netlink import open_sock_diag
from synguard.policy.models import Allow
from synguard.readings import CounterReading, KnownParts, Listener, NamespaceSpan, Protected, SocketReading
from synguard.sensors.containers import Containers, with_containers
from synguard.sensors.counters import CounterFiles
from synguard.sensors.inet_diag import SocketRows
from synguard.sensors.listener_names import ListenerNames
from synguard.sensors.namespace_reader import NamespaceReader
from synguard.sensors.namespaces import inside
from synguard.sensors.port_mapping import ASK_UNKNOWN_S, PortMappings, is_tracking
from synguard.sensors.port_mask import mask_of, port_mask, ports_in
from synguard.sensors.protected import read_protected
from synguard.sensors.sockets import SocketTables
from synguard.sensors.tcp_metrics import read_finished_peers
from synguard.socket_table import SocketTable, TcpState

_Seen = TypeVar("_Seen")

OWN: Final = ""
"""The namespace of the host itself."""
PEERS_OF_AT_ONCE: Final = 4
"""Namespaces whose finished peers are read in one call; each costs a walk of a table of the whole machine."""


class EveryNamespace:  # wide: the same questions as a sensor of one namespace, asked of all
    """Reads them all; ports are those that clients write, which publishing may have changed on the way in.

    A namespace that cannot be read is left out, told of, and covered by sampled SYNs: it never fails the host's own
    reading.
    """

    def __init__(self, host: SocketTables | None = None, counters: CounterFiles | None = None) -> None:
        self._host = host or SocketTables()
        self._own_counters = counters or CounterFiles()
        self.containers = Containers()
        self._published = PortMappings()
        self._names = ListenerNames()
        self._counted: dict[str, dict[str, int]] = {}
        self._added: dict[str, int] = {}
        self._next_peers = 0
        self._asked_own_at = float("-inf")
        self._as_read: dict[tuple[str, bool], SocketTable] = {}
        """(namespace, whether half-open) → its sockets as they were last read, with their ports as they are there."""

    @property
    def source(self) -> str:
        """How the sockets of the host itself are read."""
        return self._host.source

    @property
    def blind(self) -> bool:
        """Whether a namespace behind this one is not read, so that only sampled SYNs show what comes upon it."""
        return bool(self.containers.unread)

    @property
    def watches(self) -> bool:
        """Whether any namespace lies behind this one, read or not."""
        around = self.containers
        return bool(around.readers or around.unread or around.bridged)

    def look(self, now: float) -> str:
        """Find and let go of namespaces where that is due; return one sentence on what is read.

        Raises:
            SensorError: Interfaces or routes cannot be read.
        """
        self.containers.look(now)
        labels = {reader.label for reader in self.containers.readers}
        self._published.forget_but({OWN, *labels})
        self._counted = {label: values for label, values in self._counted.items() if label in labels}
        return self.containers.summary()

    def listeners(self, now: float) -> tuple[Listener, ...]:
        """Return every listening TCP socket, by port.

        Raises:
            SensorError: No whole table of the host itself could be had.
        """
        own = [self._own_listener(one) for one in self._host.listeners(now)]
        rows = self._each(now, lambda reader: reader.busiest(now))
        inodes = np.concatenate([found.inode for _, found in rows] or [np.empty(0, np.uint32)])
        names = iter(self._names.names(inodes, now)) if len(inodes) else iter(())
        foreign = [
            self._listener(reader.label, found, row, next(names)) for reader, found in rows for row in range(len(found))
        ]
        return tuple(sorted([*own, *foreign], key=lambda one: (one.port, one.address.version, one.address)))

    def served_ports(self, now: float) -> frozenset[int]:
        """Return every port that a socket listens on, as clients write it.

        Raises:
            SensorError: No whole table of the host itself could be had.
        """
        served = port_mask(self._host.served_ports(now))
        masks = [served, self._published.written(OWN, served)]
        for reader, rows in self._each(now, lambda reader: reader.listening(now)):
            masks.append(self._published.written(reader.label, mask_of(rows.table.local_port)))
        return ports_in(np.logical_or.reduce(masks))

    def half_open(self, now: float) -> SocketReading:
        """Return sockets in ``SYN_RECV`` whose local port listens.

        Raises:
            SensorError: No whole table of the host itself could be had.
        """
        return self._joined(
            self._host.half_open(now), self._each(now, lambda reader: reader.half_open(now)), now, half_open=True
        )

    def connections(self, now: float) -> SocketReading:
        """Return sockets past the handshake, ``TIME_WAIT`` included, whose local port listens.

        Raises:
            SensorError: No whole table of the host itself could be had.
        """
        return self._joined(
            self._host.connections(now), self._each(now, lambda reader: reader.incoming(now)), now, half_open=False
        )

    def counters(self, now: float) -> CounterReading:
        """Return the host's counters, and what those of the others have grown by since they were first seen.

        Raises:
            SensorError: The host's own counters cannot be read.
        """
        own = self._own_counters.read(now)
        for reader, values in self._each(now, lambda reader: reader.counters()):
            before = self._counted.get(reader.label)
            self._counted[reader.label] = values
            for name, value in values.items() if before else ():
                grown = value - (before or {}).get(name, value)
                if grown > 0:
                    self._added[name] = self._added.get(name, 0) + grown
        if not self._added:
            return own
        return CounterReading(own.at, {name: value + self._added.get(name, 0) for name, value in own.values.items()})

    def finished_peers(self, max_age_s: float) -> tuple[U64, U64]:
        """Return the peers of lately finished connections: the host's, and of a few of the others in turn.

        Raises:
            SensorError: The host's own cannot be read.
        """
        columns = [read_finished_peers(max_age_s)]
        readers = self.containers.readers
        for step in range(min(len(readers), PEERS_OF_AT_ONCE)):
            reader = readers[(self._next_peers + step) % len(readers)]
            try:
                columns.append(inside(reader.descriptor, lambda: read_finished_peers(max_age_s)))
            except SensorError:  # its sockets tell whether it can be read
                continue
        self._next_peers += PEERS_OF_AT_ONCE
        return np.concatenate([high for high, _ in columns]), np.concatenate([low for _, low in columns])

    def protected(self, allow: Allow, known: KnownParts) -> Protected:
        """Return who may never be banned, containers that serve something among them."""
        return with_containers(read_protected(allow, known=known), self.containers)

    def port_mapping(self) -> Mapping[int, tuple[int, ...]]:
        """Return port as counted → ports to close for it, where that is more than itself; empty for all ports.

        A port of the host itself is closed beside those that lead to it: a client may write either.
        """
        known = dict(self._published.port_mapping())
        for owner, port in [key for key in known if key[0] == OWN]:
            leading = known.pop((owner, port))
            if leading and leading != (port,):
                known[owner, port] = tuple(sorted({*leading, port}))
        found: dict[int, tuple[int, ...]] = {}
        for leading in known.values():
            for port_written in leading if len(leading) > 1 else ():
                found[port_written] = tuple(sorted({*leading, *found.get(port_written, ())}))
        unknown = {port for (_, port), leading in known.items() if not leading}
        return found | dict.fromkeys(unknown, ())

    def published(self) -> frozenset[int]:
        """Return the ports of this host that are known to lead into other namespaces."""
        return frozenset(port for port_mapping in self._published.port_mapping().values() for port in port_mapping)

    def published_as(self, namespace: str, port: int) -> tuple[int, ...]:
        """Return the ports of this host that are known to lead to one port of a namespace."""
        return self._published.of(namespace, port)

    def opener(self, namespace: str) -> Callable[[], socket.socket] | None:
        """Return what opens a socket-diagnosis socket in a namespace; None where it is not read any more."""
        return self.openers().get(namespace)

    def openers(self) -> dict[str, Callable[[], socket.socket]]:
        """Return namespace → what opens a socket-diagnosis socket in it; our own first."""
        return {OWN: open_sock_diag} | {reader.label: reader.open_kernel for reader in self.containers.readers}

    def as_there(self, namespace: str, rows: SocketTable) -> SocketTable:
        """Return those sockets of the last reading, all half-open or none, with their ports as they are there."""
        last = self._as_read.get((namespace, bool((rows.state == TcpState.SYN_RECV).any())), rows)
        return last.where(np.isin(last.cookie, rows.cookie))

    def as_published(self, namespace: str, table: SocketTable) -> SocketTable:
        """Return sockets of a namespace with the ports that clients write, as far as these are known."""
        ports = table.local_port.copy()
        for port in self._published.ports_of(namespace):
            ports[table.local_port == port] = self._written(namespace, port)
        return replace(table, local_port=ports)

    def close(self) -> None:
        """Give back all that is held open."""
        self._host.close()
        self.containers.close()

    def _each(self, now: float, read: Callable[[NamespaceReader], _Seen]) -> list[tuple[NamespaceReader, _Seen]]:
        """Return what was read of each namespace; one that fails is let go and told of."""
        found = []
        for reader in self.containers.readers:
            if not reader.sighting.stands():
                continue  # it has gone since the last look; that is no failure
            try:
                found.append((reader, read(reader)))
            except SensorError as error:
                self.containers.failed(reader, str(error), now)
            except OSError as error:
                self.containers.failed(reader, error.strerror or str(error), now)
        return found

    def _joined(
        self, own: SocketReading, others: list[tuple[NamespaceReader, SocketTable]], now: float, *, half_open: bool
    ) -> SocketReading:
        self._as_read = {key: table for key, table in self._as_read.items() if key[1] is not half_open}
        self._as_read |= {(reader.label, half_open): table for reader, table in others} | {(OWN, half_open): own.table}
        translated = self._own_as_published(own.table, now)
        tables, spans, start = [translated], [NamespaceSpan("", 0, len(translated))], len(translated)
        for reader, table in others:
            if len(table):
                self._published.learn(reader.label, table, now)
                tables.append(self.as_published(reader.label, table))
                spans.append(NamespaceSpan(reader.label, start, start + len(table)))
                start += len(table)
        if len(tables) == 1:
            return replace(own, table=translated)
        return replace(own, table=SocketTable.joined(tables), spans=tuple(spans))

    def _own_as_published(self, table: SocketTable, now: float) -> SocketTable:
        """Return the host's own sockets with the ports that clients write, where rules redirect others to them."""
        if len(table) and now - self._asked_own_at >= ASK_UNKNOWN_S and is_tracking():
            self._asked_own_at = now
            self._published.learn(OWN, table, now)
        translated = any(self._written(OWN, port) != port for port in self._published.ports_of(OWN))
        return self.as_published(OWN, table) if translated else table

    def _written(self, label: str, port: int) -> int:
        return self._published.written_for(label, port)

    def _own_listener(self, one: Listener) -> Listener:
        port_written = self._written(OWN, one.port)
        return one if port_written == one.port else replace(one, port=port_written, inner_port=one.port)

    def _listener(self, label: str, rows: SocketRows, row: int, process: str) -> Listener:
        table = rows.table
        port = int(table.local_port[row])
        return Listener(
            address=address_of(int(table.local_high[row]), int(table.local_low[row])),
            port=self._written(label, port),
            backlog=int(table.send_queue[row]),
            accept_queue=int(table.recv_queue[row]),
            process=process,
            namespace=label,
            inner_port=port,
        )
