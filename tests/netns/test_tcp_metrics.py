"""What makes the kernel remember a peer as one that finished a connection, and what an attacker cannot make it do."""

import socket
import struct
import subprocess
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest

from synguard.sensors.tcp_metrics import read_finished_peers
from tests.support.lab.flood_plan import SourceGroup
from tests.support.own_network import HOST4, HOST6, in_own_network, set_sysctls, throw_syns, wait_until
from tests.support.syn_packets import IPV4, checked, ipv4, tcp
from tests.support.wire import wire

pytestmark = pytest.mark.kernel

LINGER_RESET = struct.pack("ii", 1, 0)


def finished(max_age_s: float = 60.0) -> set[str]:
    high, low = read_finished_peers(max_age_s)
    return {
        str(
            IPv4Address(lower & 0xFFFFFFFF) if not upper and lower >> 32 == 0xFFFF else IPv6Address(upper << 64 | lower)
        )
        for upper, lower in zip(high.tolist(), low.tolist(), strict=True)
    }


def converse(
    client: str, server: str, *, server_closes_first: bool = False, end: Callable[[socket.socket], None] | None = None
) -> None:
    """Open a connection over loopback from ``client`` to ``server`` and end it: properly, or as ``end`` does."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.create_server((server, 0), family=family) as listener, socket.socket(family) as opener:
        opener.bind((client, 0))
        opener.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            first, second = (accepted, opener) if server_closes_first else (opener, accepted)
            if end is not None:
                end(opener)
                return
            first.shutdown(socket.SHUT_WR)
            assert second.recv(1) == b""
            second.shutdown(socket.SHUT_WR)
            assert first.recv(1) == b""


def own(*addresses: str) -> None:
    for address in addresses:
        subprocess.run(
            ["ip", "address", "add", address, "dev", "lo", *(["nodad"] if ":" in address else [])], check=True
        )


def mib(name: str) -> int:
    with open("/proc/thread-self/net/netstat") as file:
        lines = [line.split() for line in file]
    names, values = lines[0], lines[1]
    return int(values[names.index(name)])


@in_own_network
@pytest.mark.parametrize("server_closes_first", [False, True])
def test_a_client_that_finished_is_remembered_whoever_closed_first(server_closes_first: bool) -> None:
    own("198.51.100.7/32", "2001:db8::7/128")
    assert finished() == set()
    converse("198.51.100.7", str(HOST4), server_closes_first=server_closes_first)
    converse("2001:db8::7", str(HOST6), server_closes_first=server_closes_first)
    wait_until(lambda: {"198.51.100.7", "2001:db8::7"} <= finished())


@pytest.mark.smoke
@in_own_network
def test_an_ipv4_client_of_a_dual_stack_listener_is_remembered_as_ipv4() -> None:
    own("198.51.100.7/32")
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        far_end = (str(HOST4), listener.getsockname()[1])
        opener = socket.create_connection(far_end, source_address=("198.51.100.7", 0))
        accepted, _ = listener.accept()
        opener.shutdown(socket.SHUT_WR)
        assert accepted.recv(1) == b""
        accepted.close()
        assert opener.recv(1) == b""
        opener.close()
    wait_until(lambda: "198.51.100.7" in finished())


@in_own_network
def test_a_peer_is_forgotten_with_age_and_remembered_afresh_when_it_comes_back() -> None:
    own("198.51.100.7/32")
    converse("198.51.100.7", str(HOST4))
    wait_until(lambda: "198.51.100.7" in finished())
    wait_until(lambda: "198.51.100.7" not in finished(max_age_s=0.2))
    assert "198.51.100.7" in finished(max_age_s=60)
    converse("198.51.100.7", str(HOST4))
    assert "198.51.100.7" in finished(max_age_s=0.2)


@in_own_network
@pytest.mark.parametrize("cookies", [0, 1, 2])
def test_a_flood_of_forged_syns_makes_no_entry(cookies: int) -> None:
    """The kernel answers each; no answer ever comes back; entries would be immunity for sale."""
    set_sysctls({"net.ipv4.tcp_syncookies": cookies, "net.core.somaxconn": 4096})
    with (
        socket.create_server((str(HOST4), 0), backlog=4096) as server4,
        socket.create_server((str(HOST6), 0), family=socket.AF_INET6, backlog=4096) as server6,
    ):
        before = mib("SyncookiesSent")
        throw_syns(SourceGroup(prefix="198.51.100.0/24", distinct=200), 3000, (server4.getsockname()[1],))
        throw_syns(SourceGroup(prefix="2001:db8::/64", distinct=200), 3000, (server6.getsockname()[1],))
        if cookies == 2:
            assert mib("SyncookiesSent") - before == 6000
        else:
            half_open = subprocess.run(
                ["ss", "-Htn", "state", "syn-recv"], text=True, check=True, capture_output=True
            ).stdout
            assert len(half_open.splitlines()) >= 200
        assert finished() == set()
    assert finished() == set()


@in_own_network
def test_a_lost_answer_and_a_reset_in_its_place_make_no_entry() -> None:
    """Both kinds of bystander whose address is forged: one whose network drops our SYN-ACK, one that resets it."""
    for port, how in ((81, "drop"), (82, "reject with tcp reset")):
        ruleset = f"""table ip t{port} {{
            chain c {{ type filter hook output priority 0; ip saddr {HOST4} tcp sport {port} counter {how}; }}
        }}"""
        subprocess.run(["nft", "-f", "-"], input=ruleset, text=True, check=True)
        with socket.create_server((str(HOST4), port), backlog=512):
            throw_syns(SourceGroup(prefix="198.51.100.0/24", distinct=100), 100, (port,))
        listed = subprocess.run(["nft", "list", "table", f"t{port}"], text=True, check=True, capture_output=True).stdout
        assert "counter packets 100 " in listed
    assert finished() == set()


@in_own_network
def test_a_connection_that_is_open_or_was_reset_makes_no_entry() -> None:
    def stay(opener: socket.socket) -> None:
        assert finished() == set()

    def reset(opener: socket.socket) -> None:
        opener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        opener.close()

    own("198.51.100.7/32", "198.51.100.8/32")
    converse("198.51.100.7", str(HOST4), end=reset)
    assert finished() == set()
    converse("198.51.100.8", str(HOST4), end=stay)
    assert "198.51.100.7" not in finished()


@in_own_network
def test_a_server_that_this_host_spoke_to_is_remembered_too() -> None:
    own("198.51.100.7/32")
    converse(str(HOST4), "198.51.100.7")
    wait_until(lambda: "198.51.100.7" in finished())


@in_own_network
def test_a_host_told_to_keep_no_metrics_remembers_nobody() -> None:
    set_sysctls({"net.ipv4.tcp_no_metrics_save": 1})
    own("198.51.100.7/32")
    converse("198.51.100.7", str(HOST4))
    with_timewait = time.monotonic() + 0.3
    while time.monotonic() < with_timewait:
        assert finished() == set()


@in_own_network
def test_data_in_a_syn_with_a_made_up_fast_open_cookie_makes_no_entry() -> None:
    """A server with Fast Open answers a wrong cookie with a right one, which goes to whoever owns the address."""
    set_sysctls({"net.ipv4.tcp_fastopen": 3})
    with socket.create_server((str(HOST4), 0), backlog=512) as server, wire() as far:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 100)
        cookie = bytes([34, 10, *range(8), 1, 1])
        before = mib("TCPFastOpenPassiveFail")
        for number in range(50):
            source = f"198.51.100.{number}"
            segment = tcp(server.getsockname()[1], options=cookie) + b"GET / HTTP/1.0\r\n\r\n"
            far.send(IPV4, ipv4(source, checked(source, HOST4, segment)))
        assert mib("TCPFastOpenPassiveFail") - before == 50
        assert finished() == set()
    assert finished() == set()


@in_own_network
def test_a_server_that_gave_this_host_a_fast_open_cookie_is_remembered_at_once() -> None:
    """It answered a SYN of ours with our own sequence number: not forgeable, and our choice."""
    set_sysctls({"net.ipv4.tcp_fastopen": 3})
    own("198.51.100.7/32")
    with socket.create_server(("198.51.100.7", 0)) as server, socket.socket() as opener:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 100)
        opener.bind((str(HOST4), 0))
        opener.sendto(b"hello", socket.MSG_FASTOPEN, server.getsockname())
        accepted, _ = server.accept()
        with accepted:
            assert finished() == {"198.51.100.7"}


@in_own_network
def test_thousands_of_peers_are_all_read() -> None:
    addresses = [f"10.200.{number >> 8}.{number & 255}" for number in range(2000)]
    batch = "".join(f"address add {address}/32 dev lo\n" for address in addresses)
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)
    for address in addresses:
        converse(address, str(HOST4))
    listed = subprocess.run(["ip", "tcp_metrics"], text=True, check=True, capture_output=True).stdout
    remembered = {line.split()[0] for line in listed.splitlines() if line}
    assert finished(3600) == remembered
    assert len(remembered & set(addresses)) > 1500  # a bucket holds few; the kernel forgets the oldest of it
