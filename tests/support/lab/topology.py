"""Victim, router, client site and attacker site, wired with veth pairs and without an uplink.

::

    clients   172.20.0.0/16    2001:db8:c::/48 ──┐
                                                 router ── victim  192.0.2.2  2001:db8:0:1::2
    attackers 203.0.113.0/24   2001:db8:a::/48 ──┘    └─ blackhole: answers to every other address
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from tests.support.lab.namespaces import Namespace, new_prefix

VICTIM4: Final = IPv4Address("192.0.2.2")
VICTIM6: Final = IPv6Address("2001:db8:0:1::2")
ROUTER4: Final = IPv4Address("192.0.2.1")
ROUTER6: Final = IPv6Address("2001:db8:0:1::1")
CLIENTS4: Final = IPv4Network("172.20.0.0/16")
CLIENTS6: Final = IPv6Network("2001:db8:c::/48")
ATTACKERS4: Final = IPv4Network("203.0.113.0/24")
ATTACKERS6: Final = IPv6Network("2001:db8:a::/48")

UPLINK: Final = "eth0"
"""The one interface of victim, clients and attackers; it leads to the router."""

_FIREWALL: Final = """
table inet site {
    chain input { type filter hook input priority filter; ct state invalid counter drop; }
}
"""
"""A stateful firewall: a SYN-ACK nobody asked for is invalid to conntrack and vanishes, so no RST answers it."""


@dataclass(frozen=True, slots=True)
class Victim:
    """How the victim is tuned; None leaves what a new namespace has."""

    syncookies: int = 1
    somaxconn: int | None = None
    max_syn_backlog: int | None = None
    backlog: int = 511
    """``backlog=`` of the web server's listeners; the kernel caps it at ``somaxconn``."""
    places: int = 60_000
    """Connections that the web server takes in all."""
    dual_stack: bool = False
    """One listener for both families, which sees IPv4 as ``::ffff:a.b.c.d``, instead of one for each.

    With one for each, as nginx has by default, an IPv6 flood fills the IPv6 queue alone and IPv4 clients feel nothing.
    """

    def sysctls(self) -> dict[str, int]:
        """Return the sysctls to set."""
        wanted = {
            "net.ipv4.tcp_syncookies": self.syncookies,
            "net.core.somaxconn": self.somaxconn,
            "net.ipv4.tcp_max_syn_backlog": self.max_syn_backlog,
        }
        return {name: value for name, value in wanted.items() if value is not None}


@dataclass(frozen=True, slots=True)
class _Link:
    """One veth pair between the router and a host; ``number`` sets its addresses."""

    number: int
    port: str
    """The router's end."""

    @property
    def router4(self) -> IPv4Address:
        return ROUTER4 + 4 * (self.number - 1)

    @property
    def host4(self) -> IPv4Address:
        return self.router4 + 1

    @property
    def router6(self) -> IPv6Address:
        return ROUTER6 + ((self.number - 1) << 64)

    @property
    def host6(self) -> IPv6Address:
        return self.router6 + 1

    def mac(self, end: int) -> str:
        return f"02:00:00:00:{self.number:02x}:{end:02x}"


_VICTIM_LINK: Final = _Link(1, "victim0")
_CLIENT_LINK: Final = _Link(2, "clients0")
_ATTACK_LINK: Final = _Link(3, "attack0")

CLIENT_PORT: Final = _CLIENT_LINK.port
ATTACK_PORT: Final = _ATTACK_LINK.port
"""The router's interface towards the attackers: every attack packet is counted there as it comes in."""
ATTACK_GATEWAY_MAC: Final = _ATTACK_LINK.mac(1)
"""Where raw frames of the attackers are addressed to."""


def client4(number: int) -> IPv4Address:
    """Return the address of client ``number``; neighbours by number live in different /24s."""
    return CLIENTS4[256 * (number % 256) + 10 + number // 256]


def client6(number: int) -> IPv6Address:
    """Return the IPv6 address of client ``number``, each in a /64 of its own."""
    return CLIENTS6[((number + 1) << 64) + 0x10]


def attacker4(number: int) -> IPv4Address:
    """Return a real address of the attackers' site, which completes handshakes."""
    return ATTACKERS4[number + 1]


def attacker6(number: int) -> IPv6Address:
    """Return a real IPv6 address of the attackers' site, each in a /64 of its own."""
    return ATTACKERS6[((number + 1) << 64) + 0x66]


class Topology:
    """The four namespaces and what joins them."""

    def __init__(self) -> None:
        prefix = new_prefix()
        self.victim = Namespace(f"{prefix}-victim")
        self.router = Namespace(f"{prefix}-router")
        self.clients = Namespace(f"{prefix}-clients")
        self.attackers = Namespace(f"{prefix}-attackers")

    @property
    def namespaces(self) -> tuple[Namespace, ...]:
        """All of them."""
        return self.victim, self.clients, self.attackers, self.router

    def build(self, victim: Victim, client_firewall: bool) -> None:
        """Make everything; on failure the caller removes what there is."""
        for namespace in self.namespaces:
            namespace.add()
            namespace.sysctl(_QUIET)
        self.router.sysctl(_ROUTER)
        self.victim.sysctl(victim.sysctls())
        self._join(self.victim, _VICTIM_LINK)
        self._join_site(self.clients, _CLIENT_LINK, CLIENTS4, CLIENTS6)
        self._join_site(self.attackers, _ATTACK_LINK, ATTACKERS4, ATTACKERS6)
        self.router.ip(["route add blackhole default", "route add blackhole ::/0"])
        # Raw SYNs of a real address would be answered by a RST of its own kernel: attackers do not.
        self.attackers.nft(_FIREWALL)
        if client_firewall:
            self.clients.nft(_FIREWALL)

    def remove(self) -> None:
        """Remove whatever there is of it; every namespace is tried."""
        errors: list[BaseException] = []
        for namespace in self.namespaces:
            try:
                namespace.remove_if_present()
            except BaseException as error:  # Ctrl-C here too must not leave the others behind
                errors.append(error)
        if errors:
            raise errors[0]

    def _join(self, host: Namespace, link: _Link) -> None:
        """Wire a host to the router; neighbours are permanent, so no source ever needs ARP or ND."""
        self.router.ip(
            [
                f"link add {link.port} address {link.mac(1)} type veth"
                f" peer name {UPLINK} address {link.mac(2)} netns {host.name}",
                *_end(link.port, f"{link.router4}/30", f"{link.router6}/64"),
                f"neigh replace {link.host4} dev {link.port} lladdr {link.mac(2)} nud permanent",
                f"neigh replace {link.host6} dev {link.port} lladdr {link.mac(2)} nud permanent",
            ]
        )
        host.ip(
            [
                *_end(UPLINK, f"{link.host4}/30", f"{link.host6}/64"),
                f"neigh replace {link.router4} dev {UPLINK} lladdr {link.mac(1)} nud permanent",
                f"neigh replace {link.router6} dev {UPLINK} lladdr {link.mac(1)} nud permanent",
                f"route add default via {link.router4}",
                f"route add default via {link.router6}",
            ]
        )

    def _join_site(self, site: Namespace, link: _Link, net4: IPv4Network, net6: IPv6Network) -> None:
        """Wire a site that owns every address of two networks, without an ``ip addr add`` for each."""
        self._join(site, link)
        site.ip([f"route add local {net4} dev lo", f"route add local {net6} dev lo"])
        site.sysctl({"net.ipv6.ip_nonlocal_bind": 1, "net.ipv4.ip_local_port_range": "1024 65000"})
        self.router.ip([f"route add {net4} via {link.host4}", f"route add {net6} via {link.host6}"])


_QUIET: Final = {
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    "net.ipv6.conf.all.accept_ra": 0,
    "net.ipv6.conf.default.accept_ra": 0,
    "net.ipv6.conf.default.accept_dad": 0,
    "net.ipv6.conf.default.router_solicitations": 0,
}
_ROUTER: Final = {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1}


def _end(interface: str, net4: str, net6: str) -> list[str]:
    return [
        f"link set {interface} up",
        f"addr add {net4} dev {interface}",
        f"addr add {net6} dev {interface} nodad",
    ]
