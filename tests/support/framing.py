"""Innocents whose addresses are forged, and what becomes of them: for the framing tests and their bench."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from tests.support.lab.agent import Agent
from tests.support.lab.attempts import Attempts
from tests.support.lab.client_plan import ClientPlan, client_sources, persistent
from tests.support.lab.flood_plan import FloodPlan, SourceGroup, anywhere, hosts
from tests.support.lab.lab import Clients, Lab
from tests.support.lab.namespaces import lab_namespaces
from tests.support.lab.programs import wait_for
from tests.support.lab.topology import UPLINK, client4
from tests.support.protection import banned

SERVED: Final = client_sources(50)
IDLE: Final = client_sources(50, first=2000)
GATEWAY: Final = str(client4(7002))
"""A second default gateway, of a worse metric: the router lets nobody forge its own address."""
RESOLVER: Final = str(client4(7000))
SSH_PEER: Final = str(client4(7001))
CLASSES: Final = {
    "served clients": SERVED,
    "idle clients": IDLE,
    "default gateway": (GATEWAY,),
    "resolver": (RESOLVER,),
    "SSH peer": (SSH_PEER,),
}
PPS: Final = 10_000
_NETNS_FILES: Final = Path("/etc/netns")


@dataclass(frozen=True, slots=True)
class Framing:
    """What became of the innocents."""

    bans: dict[str, dict[str, Any]]
    """Target → ban, while the attack was under way."""
    spared: frozenset[str]
    verdict: str
    new_connections: dict[str, Attempts]
    """Class → attempts to open a connection during the attack, once it was known."""
    standing: Attempts
    """Exchanges of the served clients over connections that they had before."""

    def banned_of(self, who: str) -> list[dict[str, Any]]:
        """Return the bans that hold an address of a class."""
        return [ban for ban in self.bans.values() if any(_covers(ban["target"], one) for one in CLASSES[who])]

    def __str__(self) -> str:
        rows = [
            f"  {who:>15}: {len(self.banned_of(who)):2} of {len(members):2} banned, "
            f"new connections that succeed {attempts.share:6.1%} of {len(attempts)}"
            for (who, members), attempts in zip(CLASSES.items(), self.new_connections.values(), strict=True)
        ]
        return "\n".join([*rows, f"  standing connections of served clients: {self.standing.share:.1%} answered"])


def _covers(target: str, address: str) -> bool:
    from synguard.addresses import parse_network

    return ip_address(address) in parse_network(target)


@contextmanager
def known_parties(lab: Lab) -> Iterator[None]:
    """Give the victim one more gateway and programs started in it a resolver: ``ip netns exec`` mounts such files."""
    lab.victim.ip([f"route add default via {GATEWAY} dev {UPLINK} onlink metric 900"])
    with etc_netns():
        folder = _NETNS_FILES / lab.victim.name
        folder.mkdir(parents=True)  # a lab beside this one may just have removed the empty directory
        try:
            (folder / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
            yield
        finally:
            shutil.rmtree(folder)


@contextmanager
def etc_netns() -> Iterator[None]:
    """Have ``/etc/netns``, without what a killed run left in it; once it is empty it goes again."""
    _NETNS_FILES.mkdir(exist_ok=True)
    for path in _NETNS_FILES.glob("sgl-*"):
        if path.name not in lab_namespaces():
            shutil.rmtree(path, ignore_errors=True)
    try:
        yield
    finally:
        with suppress(OSError):  # a lab beside this one still has files there, or was faster
            _NETNS_FILES.rmdir()


def frame(lab: Lab, agent: Agent, around: SourceGroup | None = None) -> Framing:
    """Forge every innocent at 10,000 SYN/s in all, while they go on and try new connections; ``around`` is forged too.

    The agent must run already, with ``SSH_CONNECTION`` naming ``SSH_PEER``, started among ``known_parties``.
    """
    regulars = lab.start_clients(persistent(clients=len(SERVED), interval_s=1, duration_s=120, sources=SERVED))
    wait_for(lambda: agent.status().proven_peers >= len(SERVED), "the clients to be known as served")
    everybody = hosts(*(one for members in CLASSES.values() for one in members))
    groups = (everybody,) if around is None else (everybody, around)
    flood = lab.start_flood(FloodPlan(groups=groups, pps=PPS, duration_s=110))
    wait_for(lambda: set(SERVED) <= spared_by(agent), "served clients to be spared", every=0.3)
    tries = {who: _new_connections(lab, who, members) for who, members in CLASSES.items()}
    for clients in tries.values():
        clients.wait(40)
    bans, verdict, spared = banned(agent), agent.ask("status")["verdict"], frozenset(spared_by(agent))
    assert flood.running, "the flood ended before it had been looked at"
    regulars.stop()
    flood.stop()
    attempts = {who: clients.attempts() for who, clients in tries.items()}
    return Framing(bans, spared, verdict, attempts, regulars.attempts().between(flood.first_at))


def _new_connections(lab: Lab, who: str, members: tuple[str, ...]) -> Clients:
    plan = ClientPlan(
        sources=members, clients=len(members), interval_s=1.5, arrive_within_s=1.5, duration_s=6, timeout_s=2
    )
    return lab.start_clients(plan, who.replace(" ", "-"))


def spared_by(agent: Agent) -> set[str]:
    """Return the targets that the report calls spared."""
    return {one["target"] for one in agent.ask("report")["spared"]}


EVERYWHERE: Final = anywhere(4)
"""Forged addresses for ``around``: half the flood."""
