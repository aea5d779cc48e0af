"""Three small hosts in namespaces to ask one thing: would this packet come out?

::

    peer  10.7.0.0/24, fd07::/64  ──── host ──── behind  10.8.0.2, fd08::2

``host`` holds the rules; ``behind`` stands for a container. The peer has many addresses, so that one source can be
banned and its neighbour not.
"""

from __future__ import annotations

import contextlib
import errno
import random
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, ip_address
from typing import Final

from tests.support.lab.namespaces import Namespace, new_prefix
from tests.support.network_thread import NetworkThread
from tests.support.syn_packets import checked, extension, fragment, ipv4, ipv6, tcp

HOST: Final = {4: "10.7.0.1", 6: "fd07::1"}
BEHIND: Final = {4: "10.8.0.2", 6: "fd08::2"}
PORTS: Final = (80, 443)
SOURCES: Final = range(2, 12)
"""Last parts of the peer's addresses."""

PATIENCE_S: Final = 0.35
"""How long a connection is tried that should not stand; an unstopped one stands within a millisecond."""
LONG_PATIENCE_S: Final = 15.0
"""How long one is tried that should: a busy machine may be slow, and lost SYNs are sent again after 1, 3 and 7 s."""


def source(family: int, number: int = 2) -> str:
    """Return one of the peer's addresses."""
    return f"10.7.0.{number}" if family == 4 else f"fd07::{number}"


def prefix(family: int) -> str:
    """Return the network that covers all of the peer's addresses."""
    return "10.7.0.0/24" if family == 4 else "fd07::/64"


class FirewallNet:
    """The three hosts, with listeners on `PORTS` on two of them."""

    def __init__(self) -> None:
        name = new_prefix()
        self._spaces = [Namespace(f"{name}-{part}") for part in ("peer", "host", "behind")]
        self._listeners: list[socket.socket] = []
        self._accepted: list[socket.socket] = []
        try:
            for space in self._spaces:
                space.add()
            self._wire()
            self.peer, self.host, self.behind = (NetworkThread(space) for space in self._spaces)
            for thread in (self.host, self.behind):
                self._listeners += thread.call(_listen)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the hosts."""
        for end in (*self._accepted, *self._listeners):
            end.close()
        for thread in (getattr(self, name, None) for name in ("peer", "host", "behind")):
            if thread is not None:
                thread.close()
        for space in self._spaces:
            space.remove_if_present()

    def reaches(self, family: int, number: int = 2, port: int = 80, to: dict[int, str] = HOST) -> bool:
        """Return whether a new connection from one of the peer's addresses gets through, given time to."""
        return self.attempt(family, number, port, to, LONG_PATIENCE_S) == "open"

    def stopped(self, family: int, number: int = 2, port: int = 80, to: dict[int, str] = HOST) -> bool:
        """Return whether it does not, at the first try."""
        return self.attempt(family, number, port, to) != "open"

    def refused(self, family: int, number: int = 2, port: int = 80, to: dict[int, str] = HOST) -> bool:
        """Return whether it is answered with a reset."""
        return self.attempt(family, number, port, to, LONG_PATIENCE_S) == "refused"

    def attempt(
        self,
        family: int,
        number: int = 2,
        port: int = 80,
        to: dict[int, str] = HOST,
        patience_s: float = PATIENCE_S,
    ) -> str:
        """Return what becomes of a new connection: ``open``, ``refused`` or ``silence``."""

        def connect() -> str:
            with _client(family, source(family, number)) as end:
                end.settimeout(patience_s)
                try:
                    end.connect((to[family], port))
                except ConnectionRefusedError:
                    return "refused"
                except TimeoutError:
                    return "silence"
                except OSError as error:
                    if error.errno != errno.EHOSTUNREACH:
                        raise
                    return "silence"  # a banned neighbour's questions for the host's link address are dropped too
            return "open"

        return self.peer.call(connect)

    def reach_at_once(self, family: int, count: int) -> int:
        """Return how many of some connections that one of the peer's addresses begins together stand in the end."""

        def connect() -> int:
            with contextlib.ExitStack() as stack:
                ends = [stack.enter_context(_client(family, source(family))) for _ in range(count)]
                for end in ends:
                    end.setblocking(False)
                    end.connect_ex((HOST[family], PORTS[0]))
                deadline = time.monotonic() + LONG_PATIENCE_S
                waiting = set(ends)
                while waiting and time.monotonic() < deadline:
                    waiting -= set(select.select([], list(waiting), [], 0.1)[1])
                return sum(
                    end not in waiting and not end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) for end in ends
                )

        return self.peer.call(connect)

    def answers_hidden(self, family: int, number: int, first: int, patience_s: float, headers: int = 0) -> bool:
        """Return whether a SYN from one of the peer's addresses is answered.

        It comes in two fragments, the first of so many bytes, or whole behind so many IPv6 extension headers.
        """

        def ask() -> bool:
            domain = socket.AF_INET if family == 4 else socket.AF_INET6
            with (
                socket.socket(domain, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw,
                socket.socket(domain, socket.SOCK_RAW, socket.IPPROTO_TCP) as ear,
            ):
                ear.bind((source(family, number), 0))
                ear.settimeout(patience_s)
                for packet in _hidden(family, source(family, number), first, headers):
                    raw.sendto(packet, (HOST[family], 0))
                try:
                    return bool(ear.recv(100))
                except TimeoutError:
                    return False

        return self.peer.call(ask)

    def drain(self) -> None:
        """Accept and close what waits; after five hundred attempts nobody would get through any more."""
        for listener in self._listeners:
            listener.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                while True:
                    listener.accept()[0].close()

    @contextmanager
    def connection(self, family: int, number: int = 2, port: int = 80) -> Iterator[Callable[[float], bool]]:
        """Give a standing connection: a function that says whether a byte comes back within some seconds."""

        def connect() -> socket.socket:
            end = _client(family, source(family, number))
            end.settimeout(LONG_PATIENCE_S)
            end.connect((HOST[family], port))
            return end

        end = self.peer.call(connect)
        listener = next(s for s in self._listeners if s.getsockname()[1] == port and s.family == end.family)
        listener.settimeout(5)
        while True:  # earlier attempts are waiting to be accepted too
            other, address = listener.accept()
            if address[1] == end.getsockname()[1]:
                break
            other.close()

        def echoes(patience_s: float) -> bool:
            end.settimeout(patience_s)
            other.settimeout(patience_s)
            try:
                end.sendall(b"?")
                answered = bool(other.recv(100))
                other.sendall(b"!")
                return answered and bool(end.recv(100))
            except OSError:
                return False

        try:
            yield echoes
        finally:
            with contextlib.suppress(OSError):
                end.close()
            other.close()

    def _wire(self) -> None:
        peer, host, behind = self._spaces
        host.ip(
            [
                f"link add left type veth peer name eth0 netns {peer.name}",
                f"link add right type veth peer name eth0 netns {behind.name}",
                "addr add 10.7.0.1/24 dev left",
                "addr add fd07::1/64 dev left nodad",
                "addr add 10.8.0.1/24 dev right",
                "addr add fd08::1/64 dev right nodad",
                "link set left up",
                "link set right up",
            ]
        )
        addresses = [f"addr add 10.7.0.{n}/24 dev eth0" for n in SOURCES]
        addresses += [f"addr add fd07::{n}/64 dev eth0 nodad" for n in SOURCES]
        peer.ip([*addresses, "link set eth0 up", "route add default via 10.7.0.1", "route add ::/0 via fd07::1"])
        behind.ip(
            [
                "addr add 10.8.0.2/24 dev eth0",
                "addr add fd08::2/64 dev eth0 nodad",
                "link set eth0 up",
                "route add default via 10.8.0.1",
                "route add ::/0 via fd08::1",
            ]
        )
        host.sysctl({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})


def wait_until(condition: Callable[[], bool], within_s: float) -> float:
    """Return the seconds until ``condition`` held.

    Raises:
        AssertionError: It did not in time.
    """
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < within_s, f"not so within {within_s} s"
        time.sleep(0.02)
    return time.monotonic() - start


def _client(family: int, address: str) -> socket.socket:
    end = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6)
    end.settimeout(PATIENCE_S)
    end.bind((address, 0))
    return end


def _hidden(family: int, address: str, first: int, headers: int) -> tuple[bytes, ...]:
    """Return a SYN to the first of `PORTS` as two fragments, or as one packet behind headers."""
    to = ip_address(HOST[family])
    whole = checked(address, to, tcp(PORTS[0], options=b"\1" * 12))
    ident = random.getrandbits(16)  # what a ban left of an earlier SYN must not be put together with this one
    if isinstance(to, IPv4Address):
        start = ipv4(address, whole[:first], fragment=0x2000, to=to, ident=ident)
        return start, ipv4(address, whole[first:], fragment=first // 8, to=to, ident=ident)
    if headers:
        chain = extension(60) * (headers - 1) + extension(6)
        return (ipv6(address, chain + whole, next_header=60, to=to),)
    start = fragment(6, ident=ident) + whole[:first]
    rest = fragment(6, first // 8, more=False, ident=ident) + whole[first:]
    return ipv6(address, start, next_header=44, to=to), ipv6(address, rest, next_header=44, to=to)


def _listen() -> list[socket.socket]:
    listeners = []
    for family, anywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        for port in PORTS:
            listener = socket.socket(family)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((anywhere, port))
            listener.listen(512)
            listeners.append(listener)
    return listeners
