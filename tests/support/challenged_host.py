"""A host whose clients are all challenged, and whether one of them is served: for what a connection alone shows."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable, Iterable
from typing import Final

from synguard.enforcer.challenge.plane import ChallengePlane
from synguard.enforcer.challenge.program import ProgramSettings
from synguard.enforcer.reconcile.delta import delta
from synguard.model import Ban
from tests.support.bans import wanted
from tests.support.challenge import COOKIES, ONSET, challenge, now
from tests.support.firewall_net import HOST, FirewallNet, source

PATIENCE_S: Final = 0.8
"""A challenged client that is served is so within a millisecond or two."""
LONG_PATIENCE_S: Final = 10.0
_NEVER_S: Final = 3600.0
_USUAL: Final = {**COOKIES, "net.netfilter.nf_conntrack_tcp_loose": 1}
_CLEAR: Final = "; ".join(
    [
        "nft flush ruleset",
        *(f"{tool}-legacy -t {table} -F" for tool in ("iptables", "ip6tables") for table in ("filter", "nat")),
    ]
)


class ChallengedHost:
    """The middle host of a `FirewallNet`, with the program at the interface that its clients come in by."""

    def __init__(self, net: FirewallNet, interfaces: Callable[[], Iterable[int]] | None = None) -> None:
        """Make one of a net's host; whoever sends in that net does so from one CPU: each lets a first SYN pass."""
        self.net = net
        for thread in (net.peer, net.host):
            thread.call(_stay_on_one_cpu)
        self._interfaces = interfaces or (lambda: {socket.if_nametoindex("left")})
        self.plane = net.host.call(lambda: ChallengePlane(now, lambda: set(self._interfaces()), 100.0))
        self._listeners: list[socket.socket] = []
        self._next = 8000
        self.begin()

    def begin(self) -> None:
        """Be as new: the usual settings, no rules of a firewall, no listeners, no one challenged."""
        self.net.host.sh(_CLEAR, check=False)
        self.net.host.sh("sysctl -qw " + " ".join(f"{name}={value}" for name, value in _USUAL.items()))
        for listener in self._listeners:
            listener.close()
        self._listeners = []
        self.hold()

    def hold(self, *bans: Ban) -> None:
        """Hold exactly these bans, at the interfaces that there are."""
        self.net.host.call(lambda: self.plane.apply(delta(wanted(*bans), self.plane.read(), now())))

    def add(self, listener: Callable[[], socket.socket]) -> socket.socket:
        """Make a listener on the host that ends with the test."""
        self._listeners.append(self.net.host.call(listener))
        return self._listeners[-1]

    def listen(self, port: int = 0, many: int = 1, family: int = 0) -> int:
        """Listen on a port that no one listened on before, with ``many`` sockets in a group; return the port."""
        self._next += 1
        port = port or self._next
        for one in [one for one in (4, 6) if family in (0, one)]:
            for _ in range(many):
                self._listeners.append(self.net.host.call(_listener, one, port, many > 1))
        return port

    def challenge(self, *ports: int, every_s: float = _NEVER_S) -> None:
        """Challenge everyone on ports; one SYN in ``every_s`` reaches a listener, the first and none after it."""
        self.hold(*(challenge(f"all-{n}", one, *ports) for n, one in ((4, "0.0.0.0/0"), (6, "::/0"))))
        assert self.plane.program is not None
        self.net.host.call(self.plane.program.watch, dict.fromkeys(ports, ONSET))
        self.net.host.call(self.plane.program.configure, ProgramSettings(timestamps=True, pass_every_s=every_s))

    def answered(self, family: int) -> int:
        """Return how many SYNs the program has answered."""
        return self.net.host.call(self.plane.read).bans[f"all-{family}"].hits.answered

    def served(self, family: int, port: int, patience_s: float = PATIENCE_S, of: Iterable[int] = ()) -> bool:
        """Return whether a client connects, is accepted, and gets an answer to what it sends; or that ``of`` do."""

        def connect(number: int) -> bool:
            with contextlib.suppress(OSError), socket.socket(_FAMILIES[family]) as end:
                end.bind((source(family, number), 0))
                end.settimeout(patience_s)
                end.connect((HOST[family], port))
                return self.exchanges(end, patience_s)
            return False

        return all(self.net.peer.call(connect, number) for number in of or (2,))

    def exchanges(self, end: socket.socket, patience_s: float = LONG_PATIENCE_S) -> bool:
        """Return whether a client's connection is accepted and answered."""
        accepted = self.accepted(end.getsockname()[1], patience_s)
        if accepted is None:
            return False
        with accepted:
            accepted.settimeout(patience_s)
            end.sendall(b"?")
            accepted.sendall(accepted.recv(1))
            return end.recv(1) == b"?"

    def accepts(self, client: str, patience_s: float = LONG_PATIENCE_S) -> bool:
        """Return whether a listener accepts a connection of this client."""
        while ready := select.select(self._listeners, [], [], patience_s)[0]:
            end, address = ready[0].accept()
            end.close()
            if address[0] == client:
                return True
        return False

    def accepted(self, client_port: int, patience_s: float = LONG_PATIENCE_S) -> socket.socket | None:
        """Return the connection of a client, once a listener has accepted it."""
        while ready := select.select(self._listeners, [], [], patience_s)[0]:
            end, address = ready[0].accept()
            if address[1] == client_port:
                return end
            end.close()
        return None

    def close(self) -> None:
        """Remove the program."""
        self.begin()
        self.net.host.call(self.plane.flush)


def _stay_on_one_cpu() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}


def _listener(family: int, port: int, shared: bool) -> socket.socket:
    listener = socket.socket(_FAMILIES[family])
    if family == 6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if shared else socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0" if family == 4 else "::", port))
    listener.listen(64)
    return listener
