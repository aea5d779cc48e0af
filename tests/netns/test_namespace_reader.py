"""One other network namespace, read from ours."""

from __future__ import annotations

import os
import socket

import pytest

from synguard.sensors.namespace_reader import NamespaceReader
from synguard.sensors.namespaces import Sighting
from tests.support.lab.flood_plan import hosts
from tests.support.own_network import in_own_network, throw_syns

pytestmark = pytest.mark.kernel


@in_own_network
def test_very_many_listeners_of_a_container_are_not_read_at_every_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its user may open 57,000 of them: they were read with the half-open sockets, twenty times a second."""
    monkeypatch.setattr("synguard.sensors.busiest.MANY", 4)
    witness = f"/proc/{os.readlink('/proc/thread-self')}/ns/net"
    held = [socket.create_server(("0.0.0.0", port)) for port in range(80, 85)]
    reader = NamespaceReader(Sighting(os.stat(witness).st_ino, witness), "web")
    assert len(reader.listening(1.0)) == 5
    held.append(socket.create_server(("0.0.0.0", 90)))
    throw_syns(hosts("198.51.100.7"), 3, (80,))
    assert (len(reader.half_open(1.5)), len(reader.listening(1.5))) == (3, 5)
    throw_syns(hosts("198.51.100.7"), 3, (80,), seed=2)
    assert (len(reader.half_open(2.5)), len(reader.listening(2.5))) == (6, 6)
    reader.close()
    for one in held:
        one.close()
