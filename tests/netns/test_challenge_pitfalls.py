"""What refuses challenged clients, with everyone challenged all the same; what the preflight says of it; and what does
not refuse them. Each client is one connection: accepted by its listener and answered, or not.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fcntl import ioctl
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Final

import pytest

from synguard.enforcer.challenge.handshakes import Entrance
from synguard.enforcer.challenge.neighbours import programs_ahead
from synguard.enforcer.challenge.obstacles import Obstacle, rule_obstacles
from synguard.enforcer.challenge.ruleset import read_rules
from synguard.enforcer.nftables.plane import NftablesPlane
from synguard.enforcer.reconcile.delta import delta
from synguard.enforcer.split_plane import split_plane
from synguard.model import Action
from tests.support.bans import ban, wanted
from tests.support.challenge import challenge, now
from tests.support.challenged_host import LONG_PATIENCE_S, ChallengedHost
from tests.support.firewall_net import BEHIND, HOST, FirewallNet, source
from tests.support.firewalls import NOT_SYN, chain, table
from tests.support.syn_packets import ACK, SYN, checked, ipv4, tcp

pytestmark = pytest.mark.kernel

LOOSE: Final = "net.netfilter.nf_conntrack_tcp_loose"
FAMILIES: Final = (4, 6)


@dataclass(frozen=True)
class Pitfall:
    """One firewall: how it is loaded, and what is expected."""

    tool: str
    rules: str
    code: str
    """Of the obstacle; empty for none."""
    loose: int = 1


LEGACY: Final = "{}tables-legacy-restore"
VARIANT: Final = "{}tables-nft-restore"
NATIVE: Final = "nft -f -"
INVALID: Final = "INPUT -m conntrack --ctstate INVALID -j DROP"

PITFALLS: Final = {
    "drop INVALID, loose tracking": Pitfall(LEGACY, table("filter", INVALID), ""),
    "drop INVALID in nftables, loose tracking": Pitfall(NATIVE, chain("ct state invalid drop"), ""),
    "drop INVALID, no loose tracking": Pitfall(LEGACY, table("filter", INVALID), "loose-tracking-off", loose=0),
    "NEW must be SYN in legacy xtables": Pitfall(LEGACY, table("filter", NOT_SYN), "new-must-be-syn"),
    "NEW must be SYN in iptables-nft": Pitfall(VARIANT, table("filter", NOT_SYN), "new-must-be-syn"),
    "NEW must be SYN in nftables": Pitfall(
        NATIVE, chain("tcp flags & (fin|syn|rst|ack) != syn ct state new drop"), "new-must-be-syn"
    ),
    "only SYNs are let in": Pitfall(
        NATIVE,
        chain(
            "meta l4proto icmpv6 accept",
            "ct state established,related accept",
            "tcp dport 1-65535 tcp flags syn / fin,syn,rst,ack accept",
            policy="drop",
        ),
        "new-must-be-syn",
    ),
    "a verdict map by name": Pitfall(
        NATIVE,
        chain(
            "tcp flags & (fin|syn|rst|ack) != syn ct state vmap @states",
            more="map states { type ct_state : verdict; elements = { new : drop, established : accept } }",
        ),
        "new-must-be-syn",
    ),
    "ports in a set by name": Pitfall(
        NATIVE,
        chain(
            "tcp dport @open tcp flags & (fin|syn|rst|ack) != syn ct state new drop",
            more="set open { type inet_service; flags interval; elements = { 8000-9000 } }",
        ),
        "new-must-be-syn",
    ),
}


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


def load(host: ChallengedHost, pitfall: Pitfall) -> None:
    for word in ("ip", "ip6") if "{}" in pitfall.tool else ("",):
        host.net.host.sh(f"{pitfall.tool.format(word)} <<'EOF'\n{pitfall.rules}\nEOF")
    host.net.host.sh(f"sysctl -qw {LOOSE}={pitfall.loose}")


def obstacles(host: ChallengedHost, port: int) -> set[str]:
    """Return the codes of what stands in the way on a port, the same for both families."""
    found: list[Obstacle] = []
    for family in FAMILIES:
        entrances = (Entrance(family, "left", (ip_network(HOST[family]),)),)
        found += host.net.host.call(lambda where=entrances: rule_obstacles(read_rules(), (port,), where))
    return {one.code for one in found if one.ports is None or port in one.ports}


@pytest.mark.parametrize("name", PITFALLS)
def test_the_preflight_names_what_refuses_challenged_clients_and_nothing_else(host: ChallengedHost, name: str) -> None:
    pitfall = PITFALLS[name]
    load(host, pitfall)
    port = host.listen()
    assert obstacles(host, port) == ({pitfall.code} if pitfall.code else set())
    for family in FAMILIES:
        host.challenge(port)
        assert host.served(family, port, LONG_PATIENCE_S), "the first SYN comes to the listener itself"
        before = host.answered(family)
        if pitfall.code:
            assert not host.served(family, port)
        else:
            assert host.served(family, port, LONG_PATIENCE_S, of=(3, 4, 5))
        assert host.answered(family) > before
        host.hold()
        assert host.served(family, port, LONG_PATIENCE_S), "without challenges all are served"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("verdict", ["redirect to :{port}", "dnat {ip} to {here}:{port}", "dnat {ip} to {behind}:80"])
def test_a_redirected_port_without_a_listener_of_its_own_is_left_alone(
    host: ChallengedHost, verdict: str, family: int
) -> None:
    """REDIRECT, DNAT to another port of this host, and DNAT to a container."""
    port = host.listen()
    written = port + 1000
    away = "behind" in verdict
    rule = redirection(verdict, family, port)
    host.net.host.sh(
        f"nft -f - <<'EOF'\n{chain(f'tcp dport {written} {rule}', hook='prerouting', priority='dstnat')}EOF"
    )
    host.challenge(written)
    if away:
        assert host.net.reaches(family, port=written)
    else:
        assert host.served(family, written, LONG_PATIENCE_S, of=(3, 4, 5))
    assert host.answered(family) == 0
    assert "redirected-port" in obstacles(host, written)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_redirected_port_with_another_listener_refuses_challenged_clients(host: ChallengedHost, family: int) -> None:
    inner, written = host.listen(), host.listen()
    rule = redirection("redirect to :{port}", family, inner)
    host.net.host.sh(
        f"nft -f - <<'EOF'\n{chain(f'tcp dport {written} {rule}', hook='prerouting', priority='dstnat')}EOF"
    )
    host.challenge(written)
    assert host.served(family, written, LONG_PATIENCE_S), "the first SYN comes to the listener itself"
    assert not host.served(family, written)
    assert "redirected-port" in obstacles(host, written)
    host.hold()
    assert host.served(family, written, LONG_PATIENCE_S)


def redirect(host: ChallengedHost, port: int, rule: str) -> None:
    rules = chain(f"tcp dport {port} {rule}", hook="prerouting", priority="dstnat")
    host.net.host.sh(f"nft -f - <<'EOF'\n{rules}EOF")


def redirection(verdict: str, family: int, port: int) -> str:
    bracketed = {4: "{}", 6: "[{}]"}[family]
    ip = {4: "ip", 6: "ip6"}[family]
    here, behind = bracketed.format(HOST[family]), bracketed.format(BEHIND[family])
    return verdict.format(ip=ip, here=here, behind=behind, port=port)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("cookies", "get_in"), [(2, True), (1, False), (0, False)])
def test_listeners_accept_the_cookies_of_challenges_where_cookies_are_always_on(
    host: ChallengedHost, family: int, cookies: int, get_in: bool
) -> None:
    host.net.host.sh(f"sysctl -qw net.ipv4.tcp_syncookies={cookies}")
    port = host.listen()
    host.challenge(port)
    assert host.served(family, port, LONG_PATIENCE_S), "the first SYN comes to the listener itself"
    assert host.served(family, port, LONG_PATIENCE_S if get_in else 0.8) is get_in


@pytest.mark.parametrize("family", FAMILIES)
def test_every_socket_of_a_reuseport_group_accepts_cookies(host: ChallengedHost, family: int) -> None:
    """One SYN reaches one socket of the group; that it sent a cookie counts for all of them."""
    port = host.listen(many=4)
    host.challenge(port)
    assert host.served(family, port, LONG_PATIENCE_S)
    assert host.served(family, port, LONG_PATIENCE_S, of=(2, 3, 4, 5, 6, 7, 8, 9, 10, 11) * 2)
    assert host.answered(family) >= 19


@pytest.mark.parametrize("family", FAMILIES)
def test_bans_of_the_firewall_hold_while_everyone_is_challenged(host: ChallengedHost, family: int) -> None:
    """A SYN that is answered at the interface meets no rule of the firewall, and its ACK is no new connection."""
    port = host.listen()
    host.challenge(port)
    few = {4: "10.7.0.8/29", 6: "fd07::8/125"}[family]
    both = split_plane(NftablesPlane(now), host.plane)
    goal = wanted(
        challenge(f"all-{family}", {4: "0.0.0.0/0", 6: "::/0"}[family], port),
        ban("reject", source(family, 3), action=Action.REJECT),
        ban("drop", source(family, 5)),
        ban("prefix", few),
        proven=(source(family, 9),),
    )
    host.net.host.call(lambda: both.apply(delta(goal, both.read(), now())))
    assert host.served(family, port, LONG_PATIENCE_S)
    assert host.served(family, port, LONG_PATIENCE_S), "challenged"
    before = host.answered(family)
    assert host.net.refused(family, 3, port)
    assert not host.served(family, port, of=(5,))
    assert not host.served(family, port, of=(8,))
    assert host.served(family, port, LONG_PATIENCE_S, of=(9,) * 12), "served lately: at any rate, as by the firewall"
    assert host.answered(family) == before
    host.net.host.call(lambda: both.apply(delta(wanted(), both.read(), now())))


def test_interfaces_that_come_go_and_are_renamed_are_followed(net: FirewallNet) -> None:
    there = {"left"}

    def interfaces() -> set[int]:
        return {index for index, name in socket.if_nameindex() if name in there}

    host = ChallengedHost(net, interfaces)
    try:
        net.host.sh("ip link add late type veth peer name other && ip link set late up")
        there.add("late")
        assert net.host.call(host.plane.read).missing == ("the challenge program at late",)
        host.hold()
        assert net.host.call(host.plane.read).intact
        net.host.sh("ip link set late down && ip link set late name later && ip link set later up")
        there.add("later")
        assert net.host.call(host.plane.read).intact, "the program goes with its interface"
        net.host.sh("ip link del later")
        assert net.host.call(host.plane.read).intact
        net.host.sh("ip link add late type veth peer name other && ip link set late up")
        host.hold()
        assert "synguard_in" in net.host.sh("tc filter show dev late ingress")
        there.remove("late")
        host.hold()
        assert net.host.sh("tc filter show dev late ingress") == ""
    finally:
        host.close()
        net.host.sh("ip link del late")


XDP: Final = '#define SEC(n) __attribute__((section(n), used))\nSEC("xdp") int all(void *c) { return 2; }\n'


def test_a_foreign_xdp_program_stays_and_clients_behind_it_are_challenged(host: ChallengedHost, tmp_path: Path) -> None:
    (tmp_path / "all.c").write_text(XDP + 'SEC("license") char l[] = "GPL";\n')
    run = host.net.host.sh
    run(f"clang -O2 -g -target bpf -c {tmp_path}/all.c -o {tmp_path}/all.o")
    run(f"ip link set dev left xdpgeneric obj {tmp_path}/all.o sec xdp")
    try:
        before = xdp_of(run("ip -d link show dev left"))
        port = host.listen()
        host.challenge(port)
        assert host.served(4, port, LONG_PATIENCE_S, of=(2, 3))
        assert host.answered(4) > 0
        host.hold()
        host.net.host.call(host.plane.flush)
        ahead = host.net.host.call(lambda: programs_ahead(socket.if_nametoindex("left")))
        assert ahead == [f"XDP program {before[1]}"], "and the doctor says so"
        assert xdp_of(run("ip -d link show dev left")) == before
    finally:
        run("ip link set dev left xdpgeneric off")


def xdp_of(shown: str) -> list[str]:
    """Return ``id`` and the number of the XDP program."""
    return shown.partition("prog/xdp")[2].split()[:2]


TUN: Final = "tun7"
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def test_a_client_behind_a_device_without_link_header_is_answered_and_accepted(net: FirewallNet) -> None:
    """Packets of a tun device, as of WireGuard, begin with the IP header; a cookie goes out and its ACK comes in."""
    host = ChallengedHost(net, lambda: {socket.if_nametoindex(TUN)} if TUN in dict(_named()) else set())
    device = net.host.call(os.open, "/dev/net/tun", os.O_RDWR)
    try:
        net.host.call(ioctl, device, _TUNSETIFF, struct.pack("16sH22x", TUN.encode(), _IFF_TUN | _IFF_NO_PI))
        net.host.sh(f"ip addr add 10.66.0.1/24 dev {TUN} && ip link set {TUN} up")
        port = host.listen(family=4)
        host.challenge(port, every_s=0.0)
        here = IPv4Address("10.66.0.1")

        def send(client: str, segment: bytes) -> None:
            os.write(device, ipv4(client, checked(client, here, segment), to=here))

        send("10.66.0.8", tcp(port))
        host.challenge(port)
        before = host.answered(4)
        send("10.66.0.9", tcp(port, SYN))
        answer = next(data for data in iter(lambda: os.read(device, 2048), b"") if data[16:20] == bytes((10, 66, 0, 9)))
        assert answer[33] == SYN | ACK
        assert host.answered(4) == before + 1
        cookie = int.from_bytes(answer[24:28], "big")
        ack = struct.pack("!HHIIBBHHH", 40_000, port, 2, (cookie + 1) & 0xFFFFFFFF, 5 << 4, ACK, 512, 0, 0)
        send("10.66.0.9", ack)
        assert host.accepts("10.66.0.9")
    finally:
        host.close()
        os.close(device)


def _named() -> list[tuple[str, int]]:
    return [(name, index) for index, name in socket.if_nameindex()]
