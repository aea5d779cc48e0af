"""What a rule of the host's firewall asks of a packet, in three values: yes, no, and "it depends".

Rules of legacy xtables, of ``iptables-nft`` and of nftables become the same few tests here. A test of something that is
not known beforehand (the source, a limit, a mark) gives None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Protocol

Networks = tuple[IPv4Network | IPv6Network, ...]

SYN: Final = frozenset({"syn"})
ACK: Final = frozenset({"ack"})


class RuleVerdict(StrEnum):
    """What a rule does with a packet that it matches; rules that only count or log are left out."""

    ACCEPT = "accept"
    DROP = "drop"
    RETURN = "return"
    JUMP = "jump"
    GOTO = "goto"
    NOTRACK = "notrack"
    REDIRECT = "redirect"
    """REDIRECT, DNAT and TPROXY: another socket than that of the address and port in the packet gets it."""
    PROXY = "proxy"
    """SYNPROXY answers the handshake."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A TCP packet of a client to this host, or with ``outgoing`` of this host to a client."""

    family: int
    flags: frozenset[str]
    state: str
    """What connection tracking says of it, in lower case: ``new``, ``established``, ``invalid``, ``untracked``."""
    port: int
    """This host's port."""
    interface: str = ""
    """Where it comes in, as rules name it; empty where that is not known, and then it is not ``lo``."""
    addresses: Networks = ()
    """What it may be addressed to; empty where that is not known."""
    outgoing: bool = False


class Test(Protocol):
    """One condition of a rule."""

    def judge(self, packet: Packet) -> bool | None:
        """Return whether it holds for the packet; None where that depends on what is not known."""


@dataclass(frozen=True, slots=True)
class FilterRule:
    """One rule that decides something, its conditions all to be met."""

    tests: tuple[Test, ...]
    verdict: RuleVerdict
    target: str = ""
    """The chain that is jumped to."""
    text: str = ""
    """How an operator finds it."""
    removal: str = ""
    """The command that removes it."""


@dataclass(frozen=True, slots=True)
class BaseChain:
    """A chain that the kernel calls."""

    name: str
    hook: str
    """``ingress``, ``prerouting``, ``input`` or ``output``."""
    priority: int
    families: frozenset[int]
    text: str
    nat: bool = False
    drops: bool = False
    """Its policy is to drop."""


@dataclass(frozen=True, slots=True)
class Table:
    """The chains of one table; jumps stay inside it."""

    bases: tuple[BaseChain, ...]
    rules: Mapping[str, tuple[FilterRule, ...]] = field(default_factory=dict)
    """Chain → its rules in order."""


@dataclass(frozen=True, slots=True)
class Constant:
    """The same for every packet; None for what is not known beforehand."""

    value: bool | None

    def judge(self, packet: Packet) -> bool | None:
        """Return the value."""
        del packet
        return self.value


UNKNOWN: Final = Constant(None)
NEVER: Final = Constant(False)
ALWAYS: Final = Constant(True)


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of another test."""

    test: Test

    def judge(self, packet: Packet) -> bool | None:
        """Return the opposite; not known stays not known."""
        found = self.test.judge(packet)
        return None if found is None else not found


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of several holds: an anonymous set."""

    tests: tuple[Test, ...]

    def judge(self, packet: Packet) -> bool | None:
        """Return whether one holds."""
        found = {test.judge(packet) for test in self.tests}
        return True if True in found else None if None in found else False


@dataclass(frozen=True, slots=True)
class AllOf:
    """All of several hold: one element of a concatenation."""

    tests: tuple[Test, ...]

    def judge(self, packet: Packet) -> bool | None:
        """Return whether all hold."""
        found = {test.judge(packet) for test in self.tests}
        return False if False in found else None if None in found else True


@dataclass(frozen=True, slots=True)
class Flags:
    """``--tcp-flags MASK VALUE``: of the flags in the mask exactly these are set."""

    mask: frozenset[str]
    value: frozenset[str]

    def judge(self, packet: Packet) -> bool | None:
        """Return whether the packet's flags are so."""
        return packet.flags & self.mask == self.value


@dataclass(frozen=True, slots=True)
class States:
    """``--ctstate`` or ``ct state``: one of these."""

    names: frozenset[str]

    def judge(self, packet: Packet) -> bool | None:
        """Return whether the packet is in one of them."""
        return packet.state in self.names


@dataclass(frozen=True, slots=True)
class Ports:
    """This host's port is in one of these ranges, ends included."""

    ranges: tuple[tuple[int, int], ...]
    outgoing: bool = False
    """The source port is meant."""

    def judge(self, packet: Packet) -> bool | None:
        """Return whether the port is in one; not known of a client's port."""
        if self.outgoing is not packet.outgoing:
            return None
        return any(low <= packet.port <= high for low, high in self.ranges)


@dataclass(frozen=True, slots=True)
class Interface:
    """The packet comes in (goes out) by an interface of this name; ``*`` at the end stands for any rest."""

    pattern: str
    outgoing: bool = False

    def judge(self, packet: Packet) -> bool | None:
        """Return whether it does."""
        if self.outgoing is not packet.outgoing:
            return False
        if packet.interface:
            return fnmatchcase(packet.interface, self.pattern)
        return False if self.pattern == "lo" else None


@dataclass(frozen=True, slots=True)
class FamilyFilter:
    """The packet is of this address family."""

    family: int

    def judge(self, packet: Packet) -> bool | None:
        """Return whether it is."""
        return packet.family == self.family


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """The packet is addressed to this network; of an outgoing one that is a client's, and not known."""

    network: IPv4Network | IPv6Network

    def judge(self, packet: Packet) -> bool | None:
        """Return whether all, none or some of what it may be addressed to is in the network."""
        if packet.family != self.network.version:
            return False
        if packet.outgoing or not packet.addresses:
            return None
        inside = {one.version == self.network.version and _within(one, self.network) for one in packet.addresses}
        return inside.pop() if len(inside) == 1 else None


def _within(one: IPv4Network | IPv6Network, network: IPv4Network | IPv6Network) -> bool:
    if isinstance(one, IPv4Network) and isinstance(network, IPv4Network):
        return one.subnet_of(network)
    return isinstance(one, IPv6Network) and isinstance(network, IPv6Network) and one.subnet_of(network)


def port_tests(tests: Iterable[Test]) -> Iterable[Ports]:
    """Yield the tests of ports among tests, those inside others included."""
    for test in tests:
        if isinstance(test, Ports):
            yield test
        elif isinstance(test, Not):
            yield from port_tests((test.test,))
        elif isinstance(test, AnyOf | AllOf):
            yield from port_tests(test.tests)
