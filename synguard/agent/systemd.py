"""What systemd is told of the agent: ready, alive, reloading, stopping, and one line on how it fares.

The protocol is a datagram of ``NAME=value`` lines to the socket that ``NOTIFY_SOCKET`` names: sd_notify(3). It is
spoken here in a few lines because the libraries for it are unkept or need systemd's headers to be built.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

from synguard.logs import event
from synguard.model import Mode
from synguard.output.tables import printable
from synguard.plain import count

if TYPE_CHECKING:
    from synguard.agent.config_reload import Loader
    from synguard.agent.tick import Tick
    from synguard.policy.models import Config, Policy
    from synguard.status.model import Status

log: Final = logging.getLogger(__name__)

PINGS: Final = 4
"""Signs of life within one watchdog time; systemd recommends two at least."""
MOST_OF_A_PROBLEM: Final = 200
"""Characters of a problem that the status line repeats."""


class ServiceManager:
    """Tells the service manager; without one, every call does nothing. No call waits or raises."""

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        """``address`` is a path, or ``@name`` in the abstract namespace; ``watchdog_s`` is 0 where no one waits."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._ping_every_s = watchdog_s / PINGS
        self._ping_due = float("-inf")
        self._told = ""
        self._reloaded = False
        self._failed = False

    @classmethod
    def here(cls, environment: MutableMapping[str, str] = os.environ) -> ServiceManager:
        """Return the one that started this process; its variables are taken out, so that no tool inherits them."""
        address = environment.pop("NOTIFY_SOCKET", "")
        microseconds, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        ours = microseconds.isdecimal() and pid in ("", str(os.getpid()))
        return cls(address if address[:1] in ("/", "@") else "", int(microseconds) / 1e6 if ours else 0.0)

    def ready(self) -> None:
        """Say that the agent has adopted what stands and begins to watch."""
        self._send("READY=1", f"MAINPID={os.getpid()}")

    def stopping(self) -> None:
        """Say that the agent ends after the present tick."""
        self._send("STOPPING=1", "STATUS=stopping after this tick; bans stay and expire by themselves")

    def reloading(self, load: Loader) -> Loader:
        """Say that config and policies are about to be read again; return ``load``, which says when it was done."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

        def reported() -> tuple[Config, tuple[Policy, ...]]:
            self._reloaded = True
            return load()

        return reported

    def tick(self, _tick: Tick, now: float, _utc: datetime) -> None:
        """Say after a tick that the agent is alive, as often as the watchdog wants it, and that a reload is over.

        It is the tick that says so and no thread of its own: an agent whose tick hangs must not pass for alive.
        """
        if self._reloaded:
            self._reloaded = False
            self._send("READY=1")
        if self._ping_every_s and now >= self._ping_due:
            self._ping_due = now + self._ping_every_s
            self._send("WATCHDOG=1")

    def read(self, status: Status) -> None:
        """Tell one line on how the agent fares, when it has changed; ``systemctl status`` shows it."""
        line = status_line(status)
        if line != self._told:
            self._told = line
            self._send(f"STATUS={line}")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            ) as channel:
                channel.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:  # a full queue: the next ping comes in time
            if not self._failed:
                log.warning("the service manager cannot be notified: %s", error.strerror, extra=event("service"))
            self._failed = True
        else:
            self._failed = False


def status_line(status: Status) -> str:
    """Return ``enforcing by iptables-sets, calm, 3 bans``; what is wrong comes first."""
    mode = f"enforcing by {status.plane}" if status.mode is Mode.ENFORCE else "dry-run"
    phase = next((f"{one.kind}: {one.phase}" for one in status.incidents), "calm")
    words = f"{mode}, {phase}, {count(status.bans_active, 'ban')}"
    problem = next(iter(status.problems), "")
    line = f"NOT HEALTHY: {problem[:MOST_OF_A_PROBLEM]}; {words}" if problem else words
    return printable(line)  # a line break in a name that a stranger chose would be a message of its own
