"""The sockets of a few networks, asked of the kernel: the same that the whole table tells."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_network

import pytest

from synguard.detector.peers import presence
from synguard.sensors.few_sockets import held_by
from synguard.sensors.sockets import SocketTables
from synguard.socket_table import TcpState
from tests.support.network_thread import NetworkThread

pytestmark = [pytest.mark.kernel]


@pytest.fixture
def there() -> Iterator[NetworkThread]:
    made = NetworkThread()
    yield made
    made.close()


def test_what_a_network_holds_is_what_the_whole_table_says_of_it(there: NetworkThread) -> None:
    """IPv4 over a socket of both families, IPv6, UDP, and one that has ended and one nobody asked for."""
    there.sh("ip link set lo up; ip addr add 2001:db8::7/128 dev lo; ip addr add 198.51.100.9/32 dev lo")
    targets = [ip_network(one) for one in ("127.0.0.2", "127.0.0.0/30", "198.51.100.0/24", "2001:db8::/64", "10.0.0.1")]

    def connected() -> None:
        with ExitStack() as held:
            both = held.enter_context(socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True))
            port = both.getsockname()[1]
            for source in ("127.0.0.2", "127.0.0.3", "198.51.100.9"):
                held.enter_context(socket.create_connection(("127.0.0.1", port), source_address=(source, 0)))
                held.enter_context(both.accept()[0])
            held.enter_context(socket.create_connection(("::1", port), source_address=("2001:db8::7", 0)))
            held.enter_context(both.accept()[0])
            with socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0)):
                both.accept()[0].close()
            udp = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            udp.connect(("127.0.0.2", 9))
            tcp_of, udp_of = held_by(targets)
            tables = SocketTables()
            tcp = tables.tcp(state for state in TcpState if state is not TcpState.LISTEN)
            for target in targets:
                assert tcp_of[target] == presence(tcp, target), target
                assert udp_of[target] == presence(tables.udp(), target), target
            tables.close()
            assert tcp_of[targets[0]].peers == udp_of[targets[0]].sockets["ESTABLISHED"] == 1
            assert tcp_of[targets[3]].sockets == {"ESTABLISHED": 1}

    there.call(connected)
