"""Ports that clients write, where rules of the host itself hand connections to listeners on others: NAT, TPROXY."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from synguard.detector.pressure import ELSEWHERE, pressure_on
from synguard.sensors.every_namespace import EveryNamespace
from synguard.socket_table import local_ports
from tests.support.firewall_net import HOST, FirewallNet, source, wait_until
from tests.support.syn_packets import checked, ipv4, ipv6, tcp

pytestmark = pytest.mark.kernel

WRITTEN = 8443
REDIRECTS = {
    "nft redirect": "nft add table ip n; nft add chain ip n pre '{{ type nat hook prerouting priority -100; }}';"
    " nft add rule ip n pre tcp dport {port} redirect to :80",
    "nft dnat": "nft add table ip n; nft add chain ip n pre '{{ type nat hook prerouting priority -100; }}';"
    " nft add rule ip n pre tcp dport {port} dnat to {host}:80",
    "legacy REDIRECT": "iptables-legacy -t nat -A PREROUTING -p tcp --dport {port} -j REDIRECT --to-ports 80",
    "iptables-nft DNAT": "iptables-nft -t nat -A PREROUTING -p tcp --dport {port} -j DNAT --to-destination {host}:80",
    "legacy REDIRECT of IPv6": "ip6tables-legacy -t nat -A PREROUTING -p tcp --dport {port} -j REDIRECT --to-ports 80",
    "nft map of IPv6": "nft add table inet n;"
    " nft add chain inet n pre '{{ type nat hook prerouting priority -100; }}';"
    " nft add rule inet n pre meta l4proto tcp redirect to :tcp dport map '{{ {port} : 80, 9443 : 443 }}'",
}


@pytest.fixture
def net() -> Iterator[FirewallNet]:
    made = FirewallNet()
    yield made
    made.close()


def throw_syns(net: FirewallNet, port: int, count: int, version: int = 4) -> None:
    """Let the peer send SYNs in the name of hosts that do not exist, so that nobody answers for them."""
    to, family, wrapped = ip_address(HOST[version]), socket.AF_INET, ipv4
    if version == 6:
        family, wrapped = socket.AF_INET6, ipv6

    def send() -> None:
        with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            for number in range(count):
                sender = source(version, 100 + number)
                raw.sendto(wrapped(sender, checked(sender, to, tcp(port)), to=to), (str(to), 0))

    net.peer.call(send)


@pytest.mark.parametrize("rule", REDIRECTS.values(), ids=list(REDIRECTS))
def test_sockets_of_a_redirected_port_are_counted_under_the_one_that_clients_write(net: FirewallNet, rule: str) -> None:
    """A flood on 443, redirected to 8080: port 8080 was banned, which no packet names before the translation."""
    net.host.sh(rule.format(port=WRITTEN, host=HOST[4]))
    everywhere = EveryNamespace()
    try:
        version = 6 if "inet" in rule or "ip6" in rule else 4
        assert net.reaches(version, port=443), "so that the peer knows the host's link address"
        throw_syns(net, WRITTEN, 8, version)
        wait_until(lambda: len(net.host.call(everywhere.half_open, 1.0).table) == 8, 5)
        reading = net.host.call(everywhere.half_open, 2.0)
        listeners = net.host.call(everywhere.listeners, 2.0)
        assert local_ports(reading.table) == [WRITTEN]
        assert everywhere.port_mapping()[WRITTEN] == (80, WRITTEN)
        assert WRITTEN in everywhere.published()
        [queue] = [one for one in pressure_on(listeners, reading) if one.half_open]
        assert (queue.port, queue.half_open, queue.backlog) == (WRITTEN, 8, 512)
        assert local_ports(everywhere.as_there("", reading.table)) == [80]
    finally:
        everywhere.close()


def test_without_a_translation_ports_are_what_they_are(net: FirewallNet) -> None:
    net.host.sh("nft add table ip n; nft add chain ip n in '{ type filter hook input priority 0; }';"
                " nft add rule ip n in ct state established accept")  # fmt: skip
    everywhere = EveryNamespace()
    try:
        throw_syns(net, 80, 3)
        wait_until(lambda: len(net.host.call(everywhere.half_open, 1.0).table) == 3, 5)
        assert local_ports(net.host.call(everywhere.half_open, 2.0).table) == [80]
        assert everywhere.port_mapping() == {}
    finally:
        everywhere.close()


TRANSPARENT = (
    "ip -{version} rule add fwmark 1 lookup 100; ip -{version} route add local {all} dev lo table 100;"
    " nft add table {family} t; nft add chain {family} t pre '{{ type filter hook prerouting priority -150; }}';"
    " nft add rule {family} t pre tcp dport {port} tproxy to {to}:5000 meta mark set 1 accept"
)
OWN = {
    4: {"family": "ip", "all": "0.0.0.0/0", "to": "127.0.0.1"},
    6: {"family": "ip6", "all": "::/0", "to": "[::1]"},
}


@pytest.mark.parametrize("version", OWN)
def test_half_open_sockets_of_a_transparent_proxy_are_seen_although_nothing_listens_on_their_port(
    net: FirewallNet, version: int
) -> None:
    """TPROXY 443 → 5000: 129 sockets stood in SYN_RECV, and the agent said healthy, half-open 0."""
    net.host.sh(TRANSPARENT.format(port=WRITTEN, version=version, **OWN[version]))

    def listen() -> socket.socket:
        listener = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6)
        if version == 4:
            listener.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT
        else:
            listener.setsockopt(socket.IPPROTO_IPV6, 75, 1)  # IPV6_TRANSPARENT
        listener.bind((OWN[version]["to"].strip("[]"), 5000))
        listener.listen(512)
        return listener

    with contextlib.closing(net.host.call(listen)) as listener:
        everywhere = EveryNamespace()
        try:
            assert net.reaches(version, port=443), "so that the peer knows the host's link address"
            throw_syns(net, WRITTEN, 8, version)
            wait_until(lambda: len(net.host.call(everywhere.half_open, 1.0).table) == 8, 5)
            reading = net.host.call(everywhere.half_open, 2.0)
            assert local_ports(reading.table) == [WRITTEN]
            [queue] = [one for one in pressure_on(net.host.call(everywhere.listeners, 2.0), reading) if one.half_open]
            assert (queue.port, queue.half_open, queue.process) == (WRITTEN, 8, ELSEWHERE)
            assert net.reaches(version, port=WRITTEN)
            accepted, _ = listener.accept()
            with accepted:
                assert WRITTEN in local_ports(net.host.call(everywhere.connections, 3.0).table)
        finally:
            everywhere.close()
