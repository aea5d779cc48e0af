"""Evicting half-open sockets, in a real kernel."""

from __future__ import annotations

import socket
from dataclasses import replace

import numpy as np
import pytest

from synguard.enforcer.socket_destroy import destroy_sockets
from synguard.readings import TcpState
from synguard.sensors.sockets import SocketTables
from tests.netns.test_sockets import listening, reading
from tests.support.lab.flood_plan import SourceGroup, anywhere, hosts
from tests.support.own_network import HOST4, in_own_network, throw_syns, wait_until

pytestmark = pytest.mark.kernel


def half_open(sockets: SocketTables) -> int:
    return len(sockets.half_open(0.0).table)


@pytest.mark.parametrize("group", [anywhere(4), anywhere(6)], ids=["ipv4", "ipv6"])
@in_own_network
def test_a_full_queue_is_freed_at_once_and_takes_clients_again(group: SourceGroup) -> None:
    with listening("0.0.0.0", 80), listening("::", 80), reading() as sockets:
        throw_syns(group, 300, (80,))
        wait_until(lambda: half_open(sockets) >= 65)  # the kernel prunes from half full on
        assert destroy_sockets(sockets.half_open(0.0).table) >= 65
        assert half_open(sockets) == 0
        with socket.create_connection((str(HOST4), 80), timeout=5):
            pass


@in_own_network
def test_ipv4_in_the_queue_of_an_ipv6_listener_is_freed_too() -> None:
    with listening("::", 80, dual=True), reading() as sockets:
        throw_syns(hosts("198.51.100.7"), 20, (80,))
        wait_until(lambda: half_open(sockets) == 20)
        destroy_sockets(sockets.half_open(0.0).table)
        assert half_open(sockets) == 0


@in_own_network
def test_a_half_open_socket_that_is_gone_does_not_cost_the_listener_its_life() -> None:
    """The kernel looks a socket up by its addresses and, where it is gone, finds the listener.

    A first version named sockets by address only: evicting a queue while it was pruned destroyed nginx's listening
    socket, and every client was refused. The cookie tells the two apart.
    """
    with listening("0.0.0.0", 80), reading() as sockets:
        throw_syns(hosts("198.51.100.7"), 20, (80,))
        wait_until(lambda: half_open(sockets) == 20)
        table = sockets.half_open(0.0).table
        destroy_sockets(table)
        destroy_sockets(table)
        assert len(sockets.listeners(0.0)) == 1
        with socket.create_connection((str(HOST4), 80), timeout=5):
            pass


@in_own_network
def test_rows_without_a_cookie_are_left_alone() -> None:
    with listening("0.0.0.0", 80), reading() as sockets:
        throw_syns(hosts("198.51.100.7"), 5, (80,))
        wait_until(lambda: half_open(sockets) == 5)
        table = sockets.half_open(0.0).table
        assert destroy_sockets(replace(table, cookie=np.zeros(5, np.uint64))) == 0
        assert half_open(sockets) == 5


@in_own_network
def test_only_half_open_sockets_are_evicted() -> None:
    with listening("0.0.0.0", 80), reading() as sockets:
        with pytest.raises(ValueError, match="only half-open"):
            destroy_sockets(sockets.tcp({TcpState.LISTEN}))
        assert len(sockets.listeners(0.0)) == 1
