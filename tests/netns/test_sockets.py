"""The socket sensor against sockets that the test itself opened, in a namespace of its own."""

from __future__ import annotations

import contextlib
import os
import socket
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from synguard.addresses import address_of, parse_address
from synguard.sensors import psutil_tables
from synguard.sensors.counters import read_counters
from synguard.sensors.inet_diag import AF_INET, SOCK_DIAG_BY_FAMILY, DumpRequest, UnavailableError
from synguard.sensors.sock_diag import SockDiag, open_socket
from synguard.sensors.sockets import SocketTables
from synguard.socket_table import CONNECTED, SocketTable, TcpState
from tests.support.lab.flood_plan import anywhere, hosts, prefix
from tests.support.own_network import THREAD_NET, in_own_network, set_sysctls, throw_syns, wait_until

pytestmark = pytest.mark.kernel

ALL_STATES = frozenset(TcpState)


@contextlib.contextmanager
def listening(address: str, port: int, backlog: int = 128, dual: bool = False) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        listener.bind((address, port))
        listener.listen(backlog)
        yield listener


@contextlib.contextmanager
def reading() -> Iterator[SocketTables]:
    sockets = SocketTables()
    try:
        yield sockets
    finally:
        sockets.close()


def ends(table: SocketTable) -> list[tuple[str, int, str, int]]:
    return sorted(
        (
            str(address_of(int(table.local_high[row]), int(table.local_low[row]))),
            int(table.local_port[row]),
            str(address_of(int(table.remote_high[row]), int(table.remote_low[row]))),
            int(table.remote_port[row]),
        )
        for row in range(len(table))
    )


def accepted(listener: socket.socket, clients: list[socket.socket]) -> list[tuple[str, int, str, int]]:
    """Return the server's ends, as the clients know them."""
    pairs = [(client.getpeername(), client.getsockname()) for client in clients]
    return sorted(
        (str(parse_address(there[0])), there[1], str(parse_address(here[0])), here[1]) for there, here in pairs
    )


@in_own_network
def test_connections_are_those_the_test_opened_at_the_listening_end() -> None:
    with listening("0.0.0.0", 80) as four, listening("::", 443) as six, reading() as sockets:
        clients4 = [socket.create_connection(("127.0.0.1", 80)) for _ in range(5)]
        clients6 = [socket.create_connection(("::1", 443)) for _ in range(3)]
        seen = sockets.connections(1.0)
        assert seen.source == "sock_diag"
        assert ends(seen.table) == sorted(accepted(four, clients4) + accepted(six, clients6))
        assert len(sockets.tcp(CONNECTED)) == 16, "unfiltered, both ends of each show"
        for client in clients4 + clients6:
            client.close()


@in_own_network
def test_ipv4_over_a_dual_stack_listener_is_counted_once_and_as_ipv4() -> None:
    with listening("::", 80, dual=True) as both, reading() as sockets:
        clients = [socket.create_connection(("127.0.0.1", 80)) for _ in range(4)]
        assert ends(sockets.connections(1.0).table) == accepted(both, clients)
        throw_syns(hosts("203.0.113.5", "203.0.113.6"), 2, (80,))
        wait_until(lambda: len(sockets.half_open(2.0).table) == 2)
        assert sorted(end[2] for end in ends(sockets.half_open(2.0).table)) == ["203.0.113.5", "203.0.113.6"]
        for client in clients:
            client.close()


@pytest.mark.smoke
@in_own_network
def test_half_open_sockets_of_both_families_are_counted_by_source_and_port() -> None:
    with listening("0.0.0.0", 80, 1024), listening("::", 443, 1024), reading() as sockets:
        throw_syns(hosts("203.0.113.5"), 20, (80,))
        throw_syns(prefix("198.51.100.0/24", distinct=30), 30, (80,), seed=2)
        throw_syns(prefix("2001:db8:7::/64", distinct=10), 10, (443,), seed=3)
        wait_until(lambda: len(sockets.half_open(1.0).table) == 60)
        seen = ends(sockets.half_open(1.0).table)
        sources = Counter(end[2] for end in seen)
        assert sources["203.0.113.5"] == 20
        assert sum(count for source, count in sources.items() if source.startswith("198.51.100.")) == 30
        assert sum(count for source, count in sources.items() if source.startswith("2001:db8:7:")) == 10
        assert Counter((end[0], end[1]) for end in seen) == {("10.9.0.1", 80): 50, ("fd09::1", 443): 10}
        assert len(sockets.connections(1.0).table) == 0


@pytest.mark.smoke
@in_own_network
def test_half_open_answers_to_either_state_bit_as_state_3() -> None:
    """The fact that makes asking for bits 3 and 12 harmless: no socket shows twice."""
    with listening("0.0.0.0", 80), reading() as sockets:
        throw_syns(hosts("203.0.113.5"), 7, (80,))
        wait_until(lambda: len(sockets.half_open(1.0).table) == 7)
        assert set(sockets.half_open(1.0).table.state.tolist()) == {TcpState.SYN_RECV}


@in_own_network
def test_a_large_table_is_whole_and_equal_by_both_requests() -> None:
    """Some 10,000 half-open sockets span many datagrams and several buffers."""
    set_sysctls({"net.core.somaxconn": 65535, "net.ipv4.tcp_max_syn_backlog": 65535})
    with listening("::", 80, 65535, dual=True), reading() as sockets:
        throw_syns(anywhere(4), 8000, (80,))
        throw_syns(anywhere(6), 2000, (80,))
        wait_until(lambda: len(sockets.half_open(1.0).table) == 10_000)
        at_once = sockets.half_open(1.0).table
        by_family = SockDiag()
        by_family._tcp = tuple(DumpRequest(SOCK_DIAG_BY_FAMILY, family, 6) for family in (2, 10))
        try:
            assert ends(by_family.tcp({TcpState.SYN_RECV}).table) == ends(at_once)
        finally:
            by_family.close()
        pairs = np.stack([at_once.remote_high, at_once.remote_low, at_once.remote_port.astype(np.uint64)], axis=1)
        assert len(np.unique(pairs, axis=0)) == 10_000


@in_own_network
def test_an_outgoing_connection_is_nobodys_attack() -> None:
    with listening("127.0.0.1", 9000) as upstream, reading() as sockets:
        outgoing = socket.create_connection(("127.0.0.1", 9000))
        own_port = outgoing.getsockname()[1]
        assert own_port not in sockets.connections(1.0).table.local_port.tolist()
        upstream.close()
        assert len(sockets.connections(2.0).table) == 0, "nothing listens any more"
        outgoing.close()


@pytest.mark.smoke
@in_own_network
def test_listeners_show_backlog_waiting_connections_and_process() -> None:
    with listening("0.0.0.0", 80, 5), listening("::", 81, 100_000), reading() as sockets:
        waiting = [socket.create_connection(("127.0.0.1", 80)) for _ in range(3)]
        found = {listener.port: listener for listener in sockets.listeners(1.0)}
        assert (found[80].backlog, found[80].accept_queue, str(found[80].address)) == (5, 3, "0.0.0.0")
        assert (found[81].backlog, str(found[81].address)) == (4096, "::"), "somaxconn bounds it"
        assert found[80].process.endswith(f"[{os.getpid()}]")
        for client in waiting:
            client.close()


@in_own_network
def test_time_wait_is_among_the_connections_of_its_port() -> None:
    with listening("0.0.0.0", 80) as server, reading() as sockets:
        client = socket.create_connection(("127.0.0.1", 80))
        peer, _ = server.accept()
        peer.close()
        client.recv(1)
        client.close()
        wait_until(lambda: sockets.connections(1.0).table.state.tolist() == [TcpState.TIME_WAIT])


@in_own_network
def test_udp_sockets_are_read_with_and_without_a_peer() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client,
        reading() as sockets,
    ):
        server.bind(("127.0.0.1", 53))
        client.connect(("::1", 53))
        port = client.getsockname()[1]
        assert ends(sockets.udp()) == sorted([("127.0.0.1", 53, "0.0.0.0", 0), ("::1", port, "::1", 53)])


@in_own_network
def test_psutil_gives_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """psutil reads ``/proc/PID/net``, which is the main thread's namespace: it is pointed at this thread's."""
    monkeypatch.setattr(psutil_tables.psutil, "PROCFS_PATH", str(THREAD_NET.parent))
    with listening("::", 80, dual=True), listening("0.0.0.0", 81), reading() as sockets:
        clients = [socket.create_connection(("127.0.0.1", 80)), socket.create_connection(("::1", 80))]
        throw_syns(hosts("203.0.113.5"), 3, (81,))
        wait_until(lambda: len(sockets.half_open(1.0).table) == 3)
        by_psutil, by_diag = psutil_tables.tcp_table().table, sockets.tcp(ALL_STATES)
        assert ends(by_psutil) == ends(by_diag)
        assert Counter(by_psutil.state.tolist()) == Counter(by_diag.state.tolist())
        for client in clients:
            client.close()


@pytest.mark.smoke
@in_own_network
def test_the_counters_are_those_of_this_namespace() -> None:
    with listening("0.0.0.0", 80):
        before = read_counters(1.0, THREAD_NET).values
        clients = [socket.create_connection(("127.0.0.1", 80)) for _ in range(3)]
        after = read_counters(2.0, THREAD_NET).values
        assert after["PassiveOpens"] - before["PassiveOpens"] == 3
        for client in clients:
            client.close()


@in_own_network
def test_a_protocol_that_the_kernel_cannot_dump_is_refused_not_empty() -> None:
    diag = SockDiag(open_socket)
    with pytest.raises(UnavailableError):
        diag._ask((DumpRequest(SOCK_DIAG_BY_FAMILY, AF_INET, 254),), ALL_STATES)
    diag.close()
