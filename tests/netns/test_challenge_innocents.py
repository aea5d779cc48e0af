"""What a challenge must not answer, and who must get in through one: odd SYNs, odd listeners, odd addresses."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import pytest

from tests.support.challenged_host import LONG_PATIENCE_S, ChallengedHost
from tests.support.firewall_net import BEHIND, HOST, FirewallNet, source
from tests.support.syn_packets import IPV4, IPV6, SERVICE_VLAN, VLAN, checked, ethernet, ipv4, ipv6, tcp

pytestmark = pytest.mark.kernel

FAMILIES: Final = (4, 6)
DOMAINS: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
IPPROTO_MPTCP: Final = 262
TCP_MD5SIG: Final = 14
TCP_FASTOPEN: Final = 23
MSS: Final = b"\x02\x04\x05\xb4"
MD5: Final = b"\x13\x12" + bytes(16)
AO: Final = b"\x1d\x10" + bytes(14)


@pytest.fixture(scope="module")
def challenged(net: FirewallNet) -> Iterator[ChallengedHost]:
    made = ChallengedHost(net)
    yield made
    made.close()


@pytest.fixture
def host(challenged: ChallengedHost) -> Iterator[ChallengedHost]:
    challenged.begin()
    yield challenged
    challenged.begin()


def begin(host: ChallengedHost, port: int, *families: int) -> int:
    """Challenge everyone on a port, and let the first SYN of each family teach the program; return the port."""
    host.challenge(port)
    for family in families or FAMILIES:
        assert host.served(family, port, LONG_PATIENCE_S)
        time.sleep(0.02)  # two listeners may share the time of the last SYN that passed, in ticks of the kernel
    return port


def answered(host: ChallengedHost) -> int:
    return sum(host.answered(family) for family in FAMILIES)


def link_address(host: ChallengedHost) -> bytes:
    shown = host.net.host.sh("ip -o link show left")
    return bytes.fromhex(shown.partition("link/ether ")[2].split()[0].replace(":", ""))


def answers(host: ChallengedHost, port: int, *packets: bytes, tags: Sequence[tuple[int, int]] = ()) -> int:
    """Return how many of these packets the program answers; one more behind them shows that all have arrived."""
    to, before, last = link_address(host), answered(host), ip_address(source(4, 11)).packed

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(IPV4)) as raw:
            raw.bind(("eth0", IPV4))
            raw.settimeout(LONG_PATIENCE_S)
            for packet in packets:
                raw.send(ethernet(to, IPV4 if packet[0] >> 4 == 4 else IPV6, packet, tags))
            raw.send(ethernet(to, IPV4, syn(4, port, 11)))
            while raw.recv(2048)[30:34] != last:
                pass

    host.net.peer.call(send)
    return answered(host) - before - 1


def syn(family: int, port: int, number: int = 5, options: bytes = MSS, to: str = "") -> bytes:
    """Return a SYN of one of the peer's addresses."""
    here, of = ip_address(to or HOST[family]), source(family, number)
    segment = checked(of, here, tcp(port, options=options))
    return ipv4(of, segment, to=here) if isinstance(here, IPv4Address) else ipv6(of, segment, to=here)


def there(
    family: int, port: int, address: str = "", protocol: int = 0, device: str = "", room: int = 0
) -> socket.socket:
    """Return a listener, on all addresses of its family if none is named."""
    listener = socket.socket(DOMAINS[family], socket.SOCK_STREAM, protocol)
    if family == 6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if device:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    if room:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    listener.bind((address or {4: "0.0.0.0", 6: "::"}[family], port))
    listener.listen(64)
    return listener


@pytest.mark.parametrize("family", FAMILIES)
def test_a_port_of_another_host_is_left_alone_though_this_one_listens_on_it_too(
    host: ChallengedHost, family: int
) -> None:
    """A listener on all addresses was taken for that of each address that this host forwards to: clients of the host
    behind were answered here, and the ACK went there."""
    port = begin(host, host.listen(), family)
    before = answered(host)
    behind = host.net.behind.call(there, family, port)
    try:
        for number in (2, 3, 4):
            assert host.net.reaches(family, number, port, to=BEHIND)
    finally:
        behind.close()
    assert answered(host) == before


@pytest.mark.parametrize(
    "to", ["127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0", "10.8.0.77", "::1", "ff02::1", "fd08::77"]
)
def test_what_is_for_no_address_of_this_host_is_not_answered(host: ChallengedHost, to: str) -> None:
    """The kernel alone answers none of these, whoever listens."""
    port = begin(host, host.listen())
    family = ip_address(to).version
    assert answers(host, port, syn(family, port)) == 1
    assert answers(host, port, syn(family, port, to=to)) == 0


def test_an_ipv6_packet_from_an_address_of_ipv4_is_no_syn(host: ChallengedHost) -> None:
    """The kernel drops it; it was counted as a SYN of the IPv4 source."""
    port = begin(host, host.listen())
    of, here = "::ffff:10.7.0.5", IPv6Address(HOST[6])
    assert host.plane.program is not None
    counts = host.plane.program.maps.port_counts

    def syns() -> int:
        return int(host.net.host.call(counts.read)["syns"].sum())

    assert answers(host, port, syn(6, port)) == 1
    before = syns()
    assert answers(host, port, ipv6(of, checked(of, here, tcp(port, options=MSS)))[:24] + here.packed) == 0
    assert answers(host, port, ipv6(of, checked(of, here, tcp(port, options=MSS)), to=here)) == 0
    assert syns() == before + 2, "those behind them"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("option", [MD5, AO], ids=["MD5", "AO"])
@pytest.mark.parametrize("before", [0, 2, 20])
def test_signed_syns_pass_wherever_the_signature_stands(
    host: ChallengedHost, family: int, option: bytes, before: int
) -> None:
    port = begin(host, host.listen())
    options = b"\x01" * before + option
    options += bytes(-len(options) % 4)
    assert answers(host, port, syn(family, port, options=b"\x01" * len(options))) == 1
    assert answers(host, port, syn(family, port, options=options)) == 0


def md5_key(family: int, address: str, key: bytes = b"secret") -> bytes:
    """Return ``struct tcp_md5sig`` (linux/tcp.h)."""
    packed = ip_address(address).packed
    peer = (
        struct.pack("=HH4s", DOMAINS[4], 0, packed) if family == 4 else struct.pack("=HHI16s", DOMAINS[6], 0, 0, packed)
    )
    return struct.pack("=128sBBHi80s", peer, 0, 0, len(key), 0, key)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_peer_that_signs_its_segments_connects_while_everyone_is_challenged(
    host: ChallengedHost, family: int
) -> None:
    """As between two BGP routers."""
    port = host.listen(family=10 - family)
    listener = host.add(lambda: there(family, port))
    host.net.host.call(lambda: listener.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, md5_key(family, source(family, 7))))
    begin(host, port)
    before = answered(host)

    def connect() -> bool:
        with socket.socket(DOMAINS[family]) as end:
            end.bind((source(family, 7), 0))
            end.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, md5_key(family, HOST[family]))
            end.settimeout(LONG_PATIENCE_S)
            end.connect((HOST[family], port))
            return host.exchanges(end)

    assert host.net.peer.call(connect)
    assert answered(host) == before


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("listens", [0, IPPROTO_MPTCP], ids=["TCP listener", "MPTCP listener"])
def test_a_client_that_offers_mptcp_falls_back_to_tcp(host: ChallengedHost, family: int, listens: int) -> None:
    port = host.listen(family=10 - family)
    host.add(lambda: there(family, port, protocol=listens))
    begin(host, port)
    before = answered(host)

    def connect() -> bool:
        with socket.socket(DOMAINS[family], socket.SOCK_STREAM, IPPROTO_MPTCP) as end:
            end.bind((source(family, 7), 0))
            end.settimeout(LONG_PATIENCE_S)
            end.connect((HOST[family], port))
            return host.exchanges(end)

    assert host.net.peer.call(connect)
    assert answered(host) == before + 1


@pytest.mark.parametrize("family", FAMILIES)
def test_data_in_a_syn_is_sent_again_and_arrives_once(host: ChallengedHost, family: int) -> None:
    """TCP Fast Open: the first connection fetches a cookie of it, the second sends data with its SYN."""
    port = host.listen(family=10 - family)
    listener = host.add(lambda: there(family, port))
    host.net.host.call(lambda: listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 16))
    for thread in (host.net.host, host.net.peer):
        thread.sh("sysctl -qw net.ipv4.tcp_fastopen=3")

    def send() -> bytes:
        with socket.socket(DOMAINS[family]) as end:
            end.bind((source(family, 7), 0))
            end.sendto(b"hello", socket.MSG_FASTOPEN, (HOST[family], port))
            accepted = host.accepted(end.getsockname()[1])
            assert accepted is not None
            with accepted:
                end.shutdown(socket.SHUT_WR)
                accepted.settimeout(LONG_PATIENCE_S)
                return b"".join(iter(lambda: accepted.recv(100), b""))

    assert host.net.peer.call(send) == b"hello"
    begin(host, port)
    before = answered(host)
    for _ in range(3):
        assert host.net.peer.call(send) == b"hello"
    assert answered(host) >= before + 3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "setting",
    ["ecn=1", "ecn=3", "window_scaling=0", "timestamps=0", "sack=0", "mtu_probing=2"],
)
def test_clients_of_each_setting_are_served(host: ChallengedHost, family: int, setting: str) -> None:
    port = begin(host, host.listen())
    name, _, value = setting.partition("=")
    key = f"net.ipv4.tcp_{name}"
    usual = host.net.peer.sh(f"sysctl -n {key}").strip()
    try:
        host.net.peer.sh(f"sysctl -qw {key}={value}", check=False)
        before = answered(host)
        assert host.served(family, port, LONG_PATIENCE_S, of=(3, 4, 5))
        assert answered(host) == before + 3
    finally:
        host.net.peer.sh(f"sysctl -qw {key}={usual}")


@pytest.mark.parametrize("family", FAMILIES)
def test_once_no_one_listens_the_kernel_refuses_at_once(host: ChallengedHost, family: int) -> None:
    port = host.listen(family=10 - family)
    listener = host.add(lambda: there(family, port))
    begin(host, port)
    assert host.served(family, port, LONG_PATIENCE_S)
    before = answered(host)
    host.net.host.call(listener.close)
    host._listeners.remove(listener)
    for number in (2, 3, 4):
        assert host.net.refused(family, number, port)
    assert answered(host) == before


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("device", "served"), [("left", True), ("right", False)])
def test_a_listener_of_one_device_is_challenged_there_alone(
    host: ChallengedHost, family: int, device: str, served: bool
) -> None:
    port = host.listen(family=10 - family)
    host.add(lambda: there(family, port, device=device))
    host.challenge(port)
    if served:
        assert host.served(family, port, LONG_PATIENCE_S, of=(2, 3, 4))
        assert host.answered(family) == 2
    else:
        assert host.net.refused(family, 3, port)
        assert host.answered(family) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_two_addresses_with_a_listener_each_are_answered_as_each_answers(host: ChallengedHost, family: int) -> None:
    """Clients of one were told the window scale of the other: a window of 64 KiB shrank to 500 bytes."""
    port, more = host.listen(family=10 - family), {4: "10.7.0.99", 6: "fd07::99"}[family]
    host.net.host.sh(f"ip addr add {more}/{24 if family == 4 else 64} dev left {'nodad' if family == 6 else ''}")

    def scale(address: str, number: int) -> tuple[int, int]:
        """Return the window scale that a client was told, and that which its server uses."""
        with socket.socket(DOMAINS[family]) as end:
            end.bind((source(family, number), 0))
            end.settimeout(LONG_PATIENCE_S)
            end.connect((address, port))
            accepted = host.accepted(end.getsockname()[1])
            assert accepted is not None
            with accepted:
                theirs, ours = (one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[6] for one in (end, accepted))
                return theirs & 15, ours >> 4

    try:
        host.net.host.sh("sysctl -qw net.core.rmem_max=8388608", check=False)
        host.add(lambda: there(family, port, HOST[family], room=2_000))
        host.add(lambda: there(family, port, more, room=200_000))
        host.challenge(port)
        seen = set()
        for number in (3, 4, 5, 6):
            for address in (HOST[family], more):
                told, used = host.net.peer.call(scale, address, number)
                assert told == used, address
                seen.add(used)
        assert len(seen) == 2
        assert host.answered(family) == 6
    finally:
        host.net.host.sh(f"ip addr del {more}/{24 if family == 4 else 64} dev left")


@pytest.mark.parametrize("family", FAMILIES)
def test_broken_syns_are_left_to_the_kernel(host: ChallengedHost, family: int) -> None:
    port = begin(host, host.listen())
    here, of = ip_address(HOST[family]), source(family, 5)

    def packet(segment: bytes) -> bytes:
        segment = checked(of, here, segment)
        return ipv4(of, segment, to=here) if isinstance(here, IPv4Address) else ipv6(of, segment, to=here)

    whole = tcp(port, options=MSS)
    cut = [packet(whole[:length]) for length in range(0, 24, 4)]
    short = packet(whole[:12] + b"\x40" + whole[13:])
    long = packet(whole[:12] + b"\xf0" + whole[13:])
    assert answers(host, port, *cut, short, long) == 0
    assert answers(host, port, packet(whole), packet(whole + b"data")) == 2
    if isinstance(here, IPv4Address):
        assert answers(host, port, ipv4(of, checked(of, here, whole), options=b"\x01" * 4, to=here)) == 0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tags", [[(VLAN, 7)], [(VLAN, 0)], [(SERVICE_VLAN, 7), (VLAN, 8)]], ids=str)
def test_frames_of_a_vlan_are_left_alone_at_the_device_below_it(
    host: ChallengedHost, family: int, tags: list[tuple[int, int]]
) -> None:
    port = begin(host, host.listen())
    assert answers(host, port, syn(family, port)) == 1
    assert answers(host, port, syn(family, port), tags=tags) == 0


def test_time_wait_and_standing_connections_are_left_to_the_kernel(host: ChallengedHost) -> None:
    """A client that uses its port again meets its old socket, not a cookie."""
    port = begin(host, host.listen())

    def twice() -> bool:
        for _ in range(2):
            with socket.socket() as end:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                end.bind((source(4, 9), 45_678))
                end.settimeout(LONG_PATIENCE_S)
                end.connect((HOST[4], port))
                accepted = host.accepted(45_678)
                if accepted is None:
                    return False
                accepted.close()  # first: the socket that waits is the host's
                end.recv(1)
        return True

    assert host.net.peer.call(twice)
