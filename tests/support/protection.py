"""Real floods on a victim that the real agent guards, and what came of them; for tests of protection and benches."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from synguard.addresses import format_network, parse_network
from tests.support.lab.agent import Agent
from tests.support.lab.attempts import Attempts
from tests.support.lab.client_plan import steady
from tests.support.lab.flood_plan import FloodPlan, SourceGroup, hosts, prefix
from tests.support.lab.lab import Clients, Lab, Meter, SynFlood
from tests.support.lab.namespaces import LabError, Namespace
from tests.support.lab.programs import wait_for
from tests.support.lab.reach import Reach

PPS: Final = 10_000
SMALL_PPS: Final = 2_000
"""Enough for a ban; for tests that ask what comes of it alone."""
LONGEST_S: Final = 60.0
"""No flood here goes on for longer; every one is stopped once what was to be seen has been seen."""
RELIEF_PATIENCE_S: Final = 20.0
NO_CHALLENGES: Final = 'challenge.enabled = "off"\n'
"""The config of an agent that has bans alone, as on a host where no challenge works; ahead of every table."""
RATE: Final = 60.0
"""Legitimate connections a second."""


@dataclass(frozen=True, slots=True)
class Siege:
    """One flood from its first packet to the moment when it was looked at."""

    first_at: float
    """``CLOCK_MONOTONIC`` of the first packet; every other moment is on the same clock."""
    relief_s: float | None
    """Seconds from then until less than 10 % of the attack reached TCP; None where it never came so far."""
    until: float
    """The end of the window that is judged; the flood was still under way then."""
    reach: Reach
    attempts: Attempts

    @property
    def relieved_at(self) -> float:
        """When relief came; the start of the flood where it never did."""
        return self.first_at + (self.relief_s or 0.0)

    @property
    def reached_after(self) -> float:
        """Share of the attack's packets that TCP was handed after relief."""
        return self.reach.share(self.relieved_at, self.until)

    @property
    def served_after(self) -> Attempts:
        """Attempts of clients that began after relief, while the flood went on."""
        return self.attempts.between(self.relieved_at, self.until)

    @property
    def served_during(self) -> Attempts:
        """Attempts of clients that began at any moment of the flood."""
        return self.attempts.between(self.first_at, self.until)


def scattered(count: int, first: int = 0) -> tuple[str, ...]:
    """Return public IPv4 addresses of which no two share a /16, the same ones for the same ``first``."""
    numbers = range(first, first + count)
    return tuple(f"{20 + n % 80}.{(n * 7 + n // 80) % 256}.{n * 13 % 256}.{1 + n % 250}" for n in numbers)


SHAPES: Final[dict[str, tuple[Callable[[int], SourceGroup], Literal[4, 6]]]] = {
    "one source": (lambda nth: hosts(f"198.18.{nth}.1"), 4),
    "128 sources": (lambda nth: hosts(*scattered(128, 128 * nth)), 4),
    "one IPv6 /64": (lambda nth: prefix(f"2001:db8:bad:{nth + 1:x}::/64"), 6),
}
"""Name → the sources of the ``nth`` flood of that shape, each time other ones, and their family."""


def attackers(group: SourceGroup) -> set[str]:
    """Return what bans of a group's sources are called: each address, or the prefix it is drawn from."""
    if group.prefix is not None:
        return {format_network(parse_network(group.prefix))}
    return {format_network(parse_network(str(address))) for address in group.addresses}


def flood_of(*groups: SourceGroup, pps: float = PPS) -> FloodPlan:
    """Return a flood that goes on until it is stopped."""
    return FloodPlan(groups=groups, pps=pps, duration_s=LONGEST_S)


def crowd(version: Literal[4, 6] = 4, rate: float = RATE) -> Any:
    """Return clients that keep coming until they are stopped."""
    return steady(clients=40, rate=rate, duration_s=4 * LONGEST_S, version=version)


def wait_for_relief(meter: Meter, flood: SynFlood) -> float:
    """Return the seconds from the flood's first packet to relief.

    Raises:
        LabError: None came in time.
    """
    first_at = flood.first_at
    relief: list[float] = []

    def relieved() -> bool:
        found = meter.reach().relief_s(first_at)
        relief.extend([] if found is None else [found])
        return bool(relief)

    wait_for(relieved, "relief", RELIEF_PATIENCE_S, every=0.1)
    return relief[0]


def wait_for_attempts(clients: Clients, since: float, count: int = 120) -> None:
    """Wait until this many attempts that began after ``since`` have ended, well or not."""
    wait_for(lambda: len(clients.attempts().between(since)) >= count, f"{count} attempts of clients", every=0.1)


def besiege(lab: Lab, plan: FloodPlan, version: Literal[4, 6] = 4, attempts: int = 120) -> Siege:
    """Flood the victim with clients of one family coming all the while; end it after ``attempts`` of them past relief.

    Raises:
        LabError: Relief never came, or the flood ended before it had been looked at.
    """
    meter, clients = lab.start_meter(), lab.start_clients(crowd(version))
    wait_for_attempts(clients, 0.0, 10)
    flood = lab.start_flood(plan)
    relief_s = wait_for_relief(meter, flood)
    wait_for_attempts(clients, flood.first_at + relief_s, attempts)
    return finished(meter, clients, flood, relief_s)


def finished(meter: Meter, clients: Clients, flood: SynFlood, relief_s: float | None) -> Siege:
    """End clients, then flood, and return what came of it; clients that are under way are seen through first."""
    until = time.monotonic()
    clients.stop()
    assert flood.running, "the flood ended before it had been looked at"
    first_at = flood.first_at
    flood.stop()
    meter.stop()
    return Siege(first_at, relief_s, until, meter.reach(), clients.attempts())


def banned(agent: Agent) -> dict[str, dict[str, Any]]:
    """Return target → ban, of all that ``bans --json`` shows."""
    return {ban["target"]: ban for ban in agent.ask("bans")}


def wait_for_bans(agent: Agent, expected: Iterable[str], timeout: float = 20.0) -> dict[str, dict[str, Any]]:
    """Return the bans once these targets are among them."""
    wanted = set(expected)
    wait_for(lambda: wanted <= banned(agent).keys(), f"bans of {sorted(wanted)[:5]}", timeout, every=0.2)
    return banned(agent)


def half_open(victim: Namespace) -> int:
    """Return how many half-open sockets the victim holds."""
    return len(victim.run(["ss", "-Htn", "state", "syn-recv"]).splitlines())


def monotonic_of(moment: str) -> float:
    """Return an RFC 3339 moment on ``CLOCK_MONOTONIC``."""
    return datetime.fromisoformat(moment).timestamp() - time.time() + time.monotonic()


def connects(lab: Lab, source: str) -> bool:
    """Return whether one client gets a connection to the web server."""
    probe = "import socket, sys; socket.create_connection((sys.argv[2], 80), 1, (sys.argv[1], 0))"
    try:
        lab.clients.run([sys.executable, "-c", probe, source, "192.0.2.2"])
    except LabError:
        return False
    return True
