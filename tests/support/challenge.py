"""The challenge plane of a lab's victim, as tests use it."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from synguard.enforcer.challenge.plane import ChallengePlane
from synguard.enforcer.challenge.program import ProgramSettings
from synguard.enforcer.plane import Actual
from synguard.enforcer.reconcile.delta import delta
from synguard.model import Action, Ban, Hits
from synguard.syn_header import SynHeader
from tests.support.bans import ban, wanted
from tests.support.lab.lab import Lab
from tests.support.lab.topology import UPLINK
from tests.support.network_thread import NetworkThread

COOKIES = {"net.ipv4.tcp_syncookies": 2, "net.ipv4.tcp_timestamps": 2}
"""What the agent sets while it challenges."""
ONSET = 20


def now() -> datetime:
    """Return the wall clock's time."""
    return datetime.now(UTC)


class Challenge:
    """A challenge plane that works in the victim's network, at its uplink, and watches some ports."""

    def __init__(
        self, lab: Lab, ports: Iterable[int] = (80,), settings: ProgramSettings | None = None, limit: float = 100.0
    ):
        self.thread = NetworkThread(lab.victim)
        self.thread.sh("sysctl -qw " + " ".join(f"{name}={value}" for name, value in COOKIES.items()))
        self.plane = self.thread.call(lambda: ChallengePlane(now, lambda: {socket.if_nametoindex(UPLINK)}, limit))
        self.hold()
        assert self.plane.program is not None
        self.program = self.plane.program
        self.thread.call(self.program.watch, dict.fromkeys(ports, ONSET))
        self.thread.call(self.program.configure, settings or ProgramSettings(timestamps=True))

    def hold(self, *bans: Ban, allow: tuple[str, ...] = (), proven: tuple[str, ...] = ()) -> None:
        """Hold exactly these bans and exceptions."""
        goal = wanted(*bans, allow=allow, proven=proven)
        self.thread.call(lambda: self.plane.apply(delta(goal, self.plane.read(), now())))

    def read(self) -> Actual:
        """Return what is held."""
        return self.thread.call(self.plane.read)

    def hits(self, ban_id: str) -> Hits:
        """Return the counts of one ban."""
        return self.read().bans[ban_id].hits

    def close(self) -> None:
        """Remove the program."""
        self.thread.call(self.plane.flush)
        self.thread.close()


def challenge(ban_id: str, target: str, *ports: int, seconds: float = 60.0) -> Ban:
    """Return a ban that challenges."""
    return ban(ban_id, target, action=Action.CHALLENGE, ports=ports, seconds=seconds)


def limit(ban_id: str, target: str, *ports: int, seconds: float = 60.0) -> Ban:
    """Return a ban that limits."""
    return ban(ban_id, target, action=Action.LIMIT, ports=ports, seconds=seconds)


def header_drop(ban_id: str, target: str, header: SynHeader, *ports: int) -> Ban:
    """Return a ban of one header."""
    return replace(ban(ban_id, target, ports=ports, seconds=60.0), header=header)
