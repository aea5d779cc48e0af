"""Connections as the kernel lets go of them, in a real kernel."""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter
from dataclasses import replace

import pytest

from synguard.addresses import address_of
from synguard.netlink import open_sock_diag
from synguard.sensors.ended_connections import EndedConnections, Opener
from synguard.sensors.namespaces import inside
from tests.netns.test_sockets import listening
from tests.support.lab.flood_plan import hosts
from tests.support.own_network import in_own_network, throw_syns, wait_until

pytestmark = pytest.mark.kernel

RESET = struct.pack("ii", 1, 0)


def connect_and_leave(service: socket.socket, server: str, own: str, *, reset: bool) -> None:
    """Complete a handshake and end it at once; the service notices later."""
    client = socket.create_connection((server, 80), source_address=(own, 0))
    if reset:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    accepted = service.accept()[0]
    client.close()
    accepted.close()


@in_own_network
def test_each_connection_that_ended_is_told_and_no_syn_is() -> None:
    """One source opened 8,000 connections a second and reset each within milliseconds: connection_rate was 0."""
    ended, seen = EndedConnections(), Counter[str]()

    def told() -> Counter[str]:
        table = ended.read()
        mine = table.where(table.local_port == 80)
        seen.update(
            str(address_of(int(high), int(low))) for high, low in zip(mine.remote_high, mine.remote_low, strict=True)
        )
        return seen

    with listening("::", 80, dual=True) as service:
        connect_and_leave(service, "127.0.0.1", "127.0.0.3", reset=True)
        ended.open()
        for _ in range(300):
            connect_and_leave(service, "127.0.0.1", "127.0.0.2", reset=True)
        for _ in range(5):
            connect_and_leave(service, "::1", "::1", reset=False)
        throw_syns(hosts("198.51.100.7"), 20, (80,))
        wait_until(lambda: told() == {"127.0.0.2": 300, "::1": 5})
        ended.close()


@in_own_network
@pytest.mark.parametrize("server", ["127.0.0.1", "::1"])
def test_connections_that_the_service_closes_without_an_answer_are_told_apart(server: str) -> None:
    """As nginx does that is out of ``worker_connections``; a client that leaves by itself was not turned away."""
    ended, seen = EndedConnections(), Counter[int]()

    def told(so_far: int) -> bool:
        table = ended.read()
        seen.update(table.recv_queue[table.local_port == 80].tolist())
        return seen.total() == so_far

    with listening("::", 80, dual=True) as service:
        ended.open()
        for number, (answers, asks_first, leaves_first, away) in enumerate(
            ((b"", True, False, 1), (b"", False, False, 1), (b"served", True, False, 0), (b"", False, True, 0)), 1
        ):
            seen.clear()
            client = socket.create_connection((server, 80))
            if asks_first:
                client.sendall(b"GET / HTTP/1.1")
            accepted = service.accept()[0]
            if answers:
                accepted.recv(100)
                accepted.sendall(answers)
            first, second = (client, accepted) if leaves_first else (accepted, client)
            first.close()
            if away:
                wait_until(lambda: told(1))
            second.close()
            wait_until(lambda: told(1))
            assert seen == {away: 1}, number
        ended.close()


@in_own_network
def other_namespace(found: list[tuple[int, socket.socket]]) -> None:
    """Add a namespace with a service on port 80."""
    found.append((os.open("/proc/thread-self/ns/net", os.O_RDONLY), socket.create_server(("127.0.0.1", 80))))


@in_own_network
def test_connections_that_end_in_a_container_are_told_with_the_port_that_leads_there() -> None:
    """There they were counted by looks at its table alone, which show none that is over at once."""
    found: list[tuple[int, socket.socket]] = []
    other_namespace(found)
    ((there, service),) = found

    def connect_there() -> None:
        inside(there, lambda: connect_and_leave(service, "127.0.0.1", "127.0.0.2", reset=True))

    namespaces: dict[str, Opener] = {"": open_sock_diag, "gone": refuses}
    ended = EndedConnections(
        lambda: namespaces,
        lambda namespace, table: replace(table, local_port=table.local_port + 8000) if namespace else table,
    )
    ended.open()
    namespaces["web"] = lambda: inside(there, open_sock_diag)
    assert len(ended.read()) == 0
    for _ in range(30):
        connect_there()
    seen: list[int] = []
    wait_until(lambda: bool(seen.extend(ended.read().local_port.tolist())) or seen.count(8080) == 30)
    del namespaces["web"]
    ended.read()
    connect_there()
    assert len(ended.read()) == 0, "a container that is gone is listened to no more"
    ended.close()
    assert not ended.running
    service.close()
    os.close(there)


def refuses() -> socket.socket:
    raise PermissionError(1, "Operation not permitted")
