"""The SYN sampler on a real wire: counted exactly at one in one, within statistical bounds above."""

import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from math import sqrt

import numpy as np
import pytest

from synguard.columns import U8, U32
from synguard.errors import SensorError
from synguard.readings import SynSample
from synguard.sensors.bpf import SNAP, syns
from synguard.sensors.packet_ring import FRAME6, PacketRing
from synguard.sensors.packets import decode_ipv4, decode_ipv6
from synguard.sensors.syn_sampler import SynSampler
from tests.support.own_network import HOST4, in_own_network, mac_of, set_sysctls
from tests.support.syn_packets import (
    ACK,
    FIN,
    IPV4,
    IPV6,
    RST,
    SERVICE_VLAN,
    SYN,
    VLAN,
    extension,
    fragment,
    ipv4,
    ipv6,
    tcp,
)
from tests.support.wire import wire

pytestmark = pytest.mark.kernel

PORTS = frozenset({80, 443})
SIGMAS = 5.0
"""An honest estimate is further off than this once in two million runs."""


class Hand:
    """A clock turned by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def sampler(
    kept_per_second: int = 200_000, frames: int | None = None, clock: Hand | None = None
) -> Iterator[SynSampler]:
    opened = SynSampler(kept_per_second, frames, clock or Hand())
    opened.open(0.0)
    try:
        yield opened
    finally:
        opened.close()


def drive(opened: SynSampler, clock: Hand, seconds: float) -> SynSample:
    clock.now += seconds
    return opened.read(clock.now, PORTS)


def sources(sample: SynSample) -> Counter[str]:
    numbers = zip(sample.source_high.tolist(), sample.source_low.tolist(), strict=True)
    return Counter(
        str(IPv4Address(low & 0xFFFFFFFF) if not high and low >> 32 == 0xFFFF else IPv6Address(high << 64 | low))
        for high, low in numbers
    )


@pytest.mark.smoke
@in_own_network
def test_twelve_thousand_syns_of_both_families_are_counted_each_once() -> None:
    with wire() as far, sampler() as opened:
        for number in range(6000):
            far.send(IPV4, ipv4(f"198.51.{number % 100}.7", tcp(80 if number % 2 else 443), ttl=number % 200 + 1))
            far.send(IPV6, ipv6(f"2001:db8:{number % 100:x}::7", tcp(80, window=number)))
        sample = opened.read(7.0, PORTS)
        again = opened.read(7.0, PORTS)
    assert (sample.at, sample.one_in, sample.lost, len(sample), len(again)) == (7.0, 1, 0, 12_000, 0)
    assert set(sources(sample).values()) == {60}
    assert len(sources(sample)) == 200
    assert Counter(sample.local_port.tolist()) == {80: 9000, 443: 3000}
    assert sorted(set(sample.ttl.tolist())) == list(range(1, 201))
    v6 = sample.source_high != 0
    assert sorted(sample.tcp_window[v6].tolist()) == list(range(6000))


@in_own_network
def test_options_and_extension_headers_hide_no_syn(record_property: Callable[[str, object], None]) -> None:
    options = [ipv4("198.51.100.7", tcp(80), options=b"\x01" * length) for length in range(0, 44, 4)]
    chain = extension(43) + extension(44) + fragment(60) + extension(6)
    extensions = [
        ipv6("2001:db8::7", extension(6) + tcp(80), next_header=0),
        ipv6("2001:db8::7", extension(6, 120) + tcp(80), next_header=60),
        ipv6("2001:db8::7", extension(6, 128) + tcp(80), next_header=60),
        ipv6("2001:db8::7", extension(0) * 4 + extension(6) + tcp(80), next_header=0),
        ipv6("2001:db8::7", extension(60, 184) * 2 + extension(6) + tcp(80), next_header=0),
        ipv6("2001:db8::7", fragment(6) + tcp(80), next_header=44),
        ipv6("2001:db8::7", chain + tcp(80), next_header=0),
    ]
    with wire() as far, sampler() as opened:
        for _ in range(1000):
            far.send(IPV4, *options)
            far.send(IPV6, *extensions)
        sample = opened.read(0.0, PORTS)
    assert sources(sample) == {"198.51.100.7": 11_000, "2001:db8::7": 7000}
    record_property("now", f"{sources(sample)['2001:db8::7']:,} of 7,000 sampled")


@in_own_network
def test_a_tagged_syn_is_counted_once_where_its_vlan_ends_and_not_at_all_where_nobody_has_it() -> None:
    ours = _number_of_own_vlan()
    with wire() as far, sampler() as opened:
        for _ in range(1000):
            far.send(IPV4, ipv4("198.51.100.7", tcp(80)), tags=((VLAN, ours),))
            far.send(IPV6, ipv6("2001:db8::7", tcp(80)), tags=((VLAN, ours),))
            far.send(IPV4, ipv4("198.51.100.8", tcp(80)), tags=((SERVICE_VLAN, ours), (VLAN, 0)))
            far.send(IPV4, ipv4("198.51.100.9", tcp(80)), tags=((VLAN, 8),))
            far.send(IPV6, ipv6("2001:db8::9", tcp(80)), tags=((SERVICE_VLAN, 8), (VLAN, 8)))
        sample = opened.read(0.0, PORTS)
    assert sources(sample) == {"198.51.100.7": 1000, "2001:db8::7": 1000, "198.51.100.8": 1000}


def _number_of_own_vlan() -> int:
    """Make VLAN 7 ours; a kernel without VLAN interfaces takes in only tags of VLAN 0, which carry a priority."""
    setup = """\
link add link wire0 name inner.7 type vlan id 7
link set inner.7 up
link add link wire0 name outer.7 type vlan proto 802.1ad id 7
link set outer.7 up
"""
    made = subprocess.run(["ip", "-batch", "-"], input=setup, text=True, check=False, capture_output=True)
    if made.returncode and "Unknown device type" in made.stderr:
        return 0
    made.check_returncode()
    return 7


@in_own_network
def test_a_bridge_and_its_port_do_not_count_a_syn_twice() -> None:
    setup = "link add bridge0 type bridge forward_delay 0\nlink set wire0 master bridge0\nlink set bridge0 up\n"
    subprocess.run(["ip", "-batch", "-"], input=setup, text=True, check=True)
    subprocess.run(
        ["bridge", "link", "set", "dev", "wire0", "state", "3"], check=True
    )  # forward without learning first
    assert "state forwarding" in _link_details("wire0")
    bridge = mac_of("bridge0")
    with wire() as far, sampler() as opened:
        far.send(IPV4, *[ipv4("198.51.100.7", tcp(80))] * 500, to=bridge)
        sample = opened.read(0.0, PORTS)
    assert sources(sample) == {"198.51.100.7": 500}


def _link_details(link: str) -> str:
    return subprocess.run(["ip", "-d", "link", "show", link], text=True, check=True, capture_output=True).stdout


@in_own_network
def test_what_opens_no_connection_here_is_not_counted() -> None:
    with wire() as far, sampler() as opened:
        for flags in (SYN | ACK, ACK, RST, FIN, SYN | RST, SYN | FIN, 0):
            far.send(IPV4, ipv4("198.51.100.7", tcp(80, flags)))
            far.send(IPV6, ipv6("2001:db8::7", tcp(80, flags)))
        far.send(IPV4, ipv4("198.51.100.7", tcp(80), protocol=17))
        far.send(IPV4, ipv4("198.51.100.7", tcp(80), fragment=0x2001))
        far.send(IPV4, ipv4("198.51.100.7", tcp(8080)))
        far.send(IPV4, ipv4("198.51.100.7", tcp(80)), to=bytes.fromhex("02ffffffff01"))
        far.send(IPV4, ipv4("198.51.100.7", tcp(80)), to=b"\xff" * 6)
        far.send(IPV4, ipv4("198.51.100.7", tcp(80))[:30], b"\x45", b"\x00" * 60, b"\x4f" * 60)
        far.send(IPV6, ipv6("2001:db8::7", tcp(80))[:45], b"\x60", b"\x00" * 80)
        far.send(IPV6, ipv6("2001:db8::7", extension(60, 192) + extension(6, 192) + tcp(80), next_header=0))
        sample = opened.read(0.0, frozenset({80}))
    assert sources(sample) == {}


@in_own_network
def test_connections_that_this_host_opens_are_not_counted_nor_those_over_loopback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, sampler() as opened:
        port = server.getsockname()[1]
        for _ in range(20):
            socket.create_connection(("127.0.0.1", port)).close()
        with socket.socket() as outgoing:
            outgoing.setblocking(False)
            outgoing.connect_ex(("10.9.0.2", port))
        sample = opened.read(0.0, frozenset({port}))
    assert len(sample) == 0


@in_own_network
def test_a_banned_source_is_still_seen() -> None:
    """Else nobody could tell whether a ban still drops anything, or whether the flood is over."""
    ruleset = """table ip ban {
        chain c { type filter hook prerouting priority raw; ip saddr 198.51.100.7 counter drop; }
    }"""
    subprocess.run(["nft", "-f", "-"], input=ruleset, text=True, check=True)
    with wire() as far, sampler() as opened:
        for _ in range(500):
            far.send(IPV4, ipv4("198.51.100.7", tcp(80)))
        sample = opened.read(0.0, PORTS)
    dropped = subprocess.run(["nft", "list", "table", "ip", "ban"], text=True, check=True, capture_output=True).stdout
    assert "packets 500 " in dropped
    assert sources(sample) == {"198.51.100.7": 500}


@in_own_network
def test_more_ports_than_the_filter_compares_are_told_apart_all_the_same() -> None:
    many = frozenset(range(1000, 1200))
    with wire() as far, sampler() as opened:
        opened.read(0.0, many)
        for port in range(900, 1300):
            far.send(IPV4, ipv4("198.51.100.7", tcp(port)))
        sample = opened.read(0.0, many)
    assert sorted(sample.local_port.tolist()) == sorted(many)


@in_own_network
def test_one_in_sixteen_is_chosen_evenly_over_sources() -> None:
    with wire() as far, PacketRing(IPV4, 65_536) as ring4, PacketRing(IPV6, 65_536) as ring6:
        ring4.attach(syns(4, 16, PORTS))
        ring6.attach(syns(6, 16, PORTS))
        for number in range(24_000):
            far.send(IPV4, ipv4(f"198.51.100.{number % 4}", tcp(80)))
            far.send(IPV6, ipv6("2001:db8::7", tcp(80)))
        kept4, kept6 = decode_ipv4(*ring4.read()), decode_ipv6(*ring6.read())
    _, counts = np.unique(kept4.source_low, return_counts=True)
    for kept, sent in [(len(kept4), 24_000), (len(kept6), 24_000), *((int(count), 6000) for count in counts)]:
        assert abs(kept - sent / 16) < SIGMAS * sqrt(sent / 16)
    assert len(counts) == 4


@in_own_network
def test_one_in_n_rises_with_a_flood_and_falls_after_it_and_every_sample_has_one_n() -> None:
    clock = Hand()
    with wire() as far, sampler(kept_per_second=1000, clock=clock) as opened:
        opened.read(0.0, PORTS)

        def flood(count: int) -> SynSample:
            far.send(IPV4, *[ipv4("198.51.100.7", tcp(80))] * count)
            return drive(opened, clock, 0.2)

        first = flood(4000)
        assert (first.one_in, len(first), first.lost) == (1, 4000, 0)
        estimates = []
        for _ in range(4):
            sample = flood(4000)
            assert sample.one_in == 32  # 20,000/s at most 1,000/s
            assert len(sample) <= 1000 * 0.2 * 1.5
            estimates.append(len(sample) * sample.one_in)
        assert abs(sum(estimates) - 16_000) < SIGMAS * 32 * sqrt(16_000 / 32)
        for _ in range(10):
            drive(opened, clock, 0.2)
        calm = flood(100)
        assert (calm.one_in, len(calm)) == (1, 100)


@in_own_network
def test_what_finds_the_ring_full_is_lost_and_said_to_be() -> None:
    with wire() as far, sampler(frames=256) as opened:
        far.send(IPV4, *[ipv4("198.51.100.7", tcp(80))] * 2000)
        full = opened.read(0.0, PORTS)
        far.send(IPV4, *[ipv4("198.51.100.7", tcp(80))] * 200)
        after = opened.read(0.0, PORTS)
    assert (len(full), full.lost) == (256, 1744)
    assert (len(after), after.lost * after.one_in) == (len(after), 0)


@in_own_network
def test_a_ring_that_went_round_many_times_misses_nothing() -> None:
    with wire() as far, PacketRing(IPV4, 256) as ring:
        ring.attach(syns(4, 1, None))
        windows: list[int] = []
        for start in range(0, 10_000, 100):
            far.send(IPV4, *[ipv4("198.51.100.7", tcp(80, window=start + n)) for n in range(100)])
            windows += decode_ipv4(*ring.read()).tcp_window.tolist()
        assert ring.lost == 0
    assert windows == list(range(10_000))


@in_own_network
def test_the_window_is_the_time_since_opening_or_the_last_read() -> None:
    clock = Hand()
    with sampler(clock=clock) as opened:
        assert drive(opened, clock, 0.25).window_s == pytest.approx(0.25)
        assert drive(opened, clock, 1.5).window_s == pytest.approx(1.5)


@in_own_network
def test_closing_frees_everything_and_a_sampler_can_be_opened_again() -> None:
    before = len(os.listdir("/proc/self/fd"))
    opened = SynSampler(20_000)
    assert not opened.running
    with pytest.raises(SensorError, match="not open"):
        opened.read(0.0, PORTS)
    for _ in range(3):
        opened.open(0.0)
        opened.open(0.0)
        assert opened.running
        opened.read(0.0, PORTS)
        opened.close()
        opened.close()
        assert not opened.running
    assert len(os.listdir("/proc/self/fd")) == before
    assert _packet_sockets() == 0


def _packet_sockets() -> int:
    with open("/proc/thread-self/net/packet") as table:
        return len(table.readlines()) - 1


def test_without_the_capability_the_error_names_it() -> None:
    program = (
        "from synguard.sensors.syn_sampler import SynSampler\n"
        "from synguard.errors import SensorError\n"
        "try:\n    SynSampler(1000).open(0.0)\n"
        "except SensorError as error:\n    print(error)\n"
    )
    command = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", sys.executable, "-c", program]
    said = subprocess.run(command, text=True, check=True, capture_output=True, timeout=30).stdout
    assert "needs the capability CAP_NET_RAW; this root has been given less" in said


@in_own_network
def test_replies_of_this_host_do_not_count_as_its_visitors() -> None:
    """A SYN answered by our SYN-ACK, over the same wire, is one SYN."""
    with socket.create_server((str(HOST4), 0)) as server, wire() as far, sampler() as opened:
        port = server.getsockname()[1]
        far.send(IPV4, *[ipv4(f"198.51.100.{n}", tcp(port)) for n in range(50)])
        sample = opened.read(0.0, frozenset({port}))
    assert len(sample) == 50


@pytest.mark.smoke
@in_own_network
def test_filter_and_decoder_agree_on_what_a_syn_is_whatever_is_sent() -> None:
    """Ten thousand packets, each a SYN with a few bytes changed or cut off."""
    rng = np.random.default_rng(7)
    chain = extension(43) + fragment(60) + extension(6)
    seeds4 = [ipv4("198.51.100.7", tcp(80), options=b"\x01" * length) for length in (0, 4, 40)]
    seeds6 = [ipv6("2001:db8::7", tcp(80)), ipv6("2001:db8::7", chain + tcp(80), next_header=0)]
    with wire() as far, PacketRing(IPV4, 16_384) as ring4, PacketRing(IPV6, 16_384, FRAME6) as ring6:
        for version, kind, ring, decode, seeds in (
            (4, IPV4, ring4, decode_ipv4, seeds4),
            (6, IPV6, ring6, decode_ipv6, seeds6),
        ):
            ring.attach(syns(version, 1, None))
            sent = [mutated(seeds[n % len(seeds)], rng) for n in range(5000)]
            far.send(kind, *sent)
            expected = decode(*as_rows(sent))
            kept, lengths = ring.read()
            seen = decode(kept, lengths)
            assert len(seen) == len(lengths) == len(expected)
            assert 500 < len(seen) < 4500
            assert seen.source_low.tolist() == expected.source_low.tolist()
            assert seen.tcp_window.tolist() == expected.tcp_window.tolist()


def mutated(packet: bytes, rng: np.random.Generator) -> bytes:
    content = bytearray(packet)
    for _ in range(rng.integers(0, 3)):
        content[rng.integers(0, len(content))] = rng.choice([0, 1, 2, 6, 16, 43, 44, 60, 69, 96, 255])
    return bytes(content[: rng.integers(1, len(content) + 1)] if rng.random() < 0.2 else content)


def as_rows(packets: list[bytes]) -> tuple[U8, U32]:
    rows = np.frombuffer(b"".join(packet[:SNAP].ljust(SNAP, b"\0") for packet in packets), np.uint8)
    return rows.reshape(-1, SNAP), np.array([min(len(packet), SNAP) for packet in packets], np.uint32)


@in_own_network
def test_syns_on_their_way_to_a_container_are_seen() -> None:
    """They cross FORWARD, and the listener is in another namespace: no socket of this one shows them."""
    set_sysctls({"net.ipv4.ip_forward": 1, "net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.wire0.rp_filter": 0})
    destination = IPv4Address("10.8.0.77")  # behind the sink
    with wire() as far, sampler() as opened:
        far.send(IPV4, *[ipv4("198.51.100.7", tcp(80), to=destination)] * 300)
        sample = opened.read(0.0, PORTS)
    assert sources(sample) == {"198.51.100.7": 300}
