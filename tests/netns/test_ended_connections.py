"""Connections as the kernel lets go of them, in a real kernel."""

from __future__ import annotations

import socket
import struct
from collections import Counter

import pytest

from synguard.sensors.ended_connections import EndedConnections
from synguard.sensors.sockets import address_of
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
