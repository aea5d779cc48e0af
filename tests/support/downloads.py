"""Connections between two namespaces of a lab, in this process: what was negotiated, and a download."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from tests.support.lab.lab import Lab
from tests.support.lab.topology import CLIENTS4, CLIENTS6
from tests.support.network_thread import NetworkThread

PORT: Final = 8080
_CHUNK: Final = 1 << 18
_PATIENCE_S: Final = 30.0
_NAMES: Final = {1: "ts", 2: "sack", 4: "wscale"}


@dataclass(frozen=True)
class Options:
    """What a connection has, as ``ss -ti`` shows it: its names, and the window scale of both sides."""

    names: frozenset[str]
    scales: tuple[int, int]


class Connection:
    """Both ends of one connection."""

    def __init__(self, client: socket.socket, accepted: socket.socket) -> None:
        self.client, self.accepted = client, accepted

    def options(self) -> Options:
        """Return what the accepted side has."""
        info = self.accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
        names = frozenset(name for bit, name in _NAMES.items() if info[5] & bit)
        return Options(names, (info[6] & 15, info[6] >> 4))

    def download(self, size: int) -> int:
        """Send so many bytes to the client and return how many arrive."""
        sender = threading.Thread(target=self._send, args=(size,))
        sender.start()
        buffer, received = bytearray(_CHUNK), 0
        while got := self.client.recv_into(buffer):
            received += got
        sender.join()
        return received

    def _send(self, size: int) -> None:
        self.accepted.sendall(bytes(size))
        self.accepted.shutdown(socket.SHUT_WR)


class Site:
    """A listener in the victim for both families, and clients that connect to it."""

    def __init__(self, lab: Lab) -> None:
        self._held = ExitStack()
        self._client, self._victim = NetworkThread(lab.clients), NetworkThread(lab.victim)
        for thread in (self._client, self._victim):
            self._held.callback(thread.close)
        self._listener = self._held.enter_context(self._victim.call(_listen))

    def connect(self, address: str, count: int) -> list[Connection]:
        """Return so many connections, opened one right after the other."""
        clients = [self._held.enter_context(self._client.call(_connect, address)) for _ in range(count)]
        accepted = {}
        for _ in clients:
            one, peer = self._listener.accept()
            accepted[peer[1]] = self._held.enter_context(one)
        return [Connection(client, accepted[client.getsockname()[1]]) for client in clients]

    def close(self) -> None:
        """Close everything."""
        self._held.close()


def _listen() -> socket.socket:
    listener = socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
    listener.settimeout(_PATIENCE_S)
    return listener


def _connect(address: str) -> socket.socket:
    """Connect from the site's own prefix, of which the address of its uplink is no part."""
    source = CLIENTS6 if ":" in address else CLIENTS4
    return socket.create_connection((address, PORT), _PATIENCE_S, (str(source[9]), 0))
