"""The same attack on a host with the agent and on one without: who gets in, and how much reaches the listener.

Clients are of three kinds: *served* ones ask for a page every second before and during the attack, *known* ones asked
once before it, *unknown* ones come first while it goes on. Each kind may live inside what the attack forges or outside.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, Literal

from tests.support.framing import GATEWAY, RESOLVER, SSH_PEER, known_parties
from tests.support.lab.attempts import Attempts
from tests.support.lab.client_plan import ClientPlan, client_sources
from tests.support.lab.connection_plan import ConnectionPlan
from tests.support.lab.flood_plan import FASTEST_PPS, FloodPlan, SourceGroup, anywhere, hosts, prefix
from tests.support.lab.lab import Clients, Lab, SynFlood
from tests.support.lab.programs import wait_for
from tests.support.lab.topology import ATTACKERS4, CLIENTS4, CLIENTS6, Victim

CONFIG: Final = '[challenge]\nenabled = "auto"\n'
GRACE_S: Final = 0.5
"""The agent has so long until hardly any SYN of the attack may reach the listener."""
BEFORE_S: Final = 2.0
NEWCOMERS_S: Final = 5.0
EVERY_S: Final = 1.0
PATIENCE_S: Final = 2.5

Kind = Literal["served", "known", "unknown"]
Sources = tuple[str, ...]
Classes = dict[str, tuple[Kind, Sources]]
Stage = Callable[[Lab], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Attack:
    """One row of the table."""

    flood: tuple[SourceGroup, ...]
    pps: float
    clients: Mapping[str, tuple[Kind, Sources]]
    """Class → how it is known to the host, and its addresses, all of one family."""
    counted: Sources = ()
    """Whose SYNs are counted at the listener, addresses or networks; empty: those of everyone."""
    victim: Victim = field(default_factory=lambda: Victim(backlog=128))
    held: ConnectionPlan | None = None
    """Real connections of attackers."""
    cover: tuple[SourceGroup, ...] = ()
    """A flood of as many SYNs a second that begins before the other."""
    head_start_s: float = 0.0
    """How long connections and cover go on before the flood."""
    stays: bool = True
    """Whether who holds connections is still there when clients are looked at."""
    grace_s: float = GRACE_S
    config: str = CONFIG
    cpu: int | None = None
    """The CPU that sends, where all of it is to be had."""
    port: int = 80
    web: bool = True
    """Whether nginx serves; else the stage does."""
    stage: Stage = nullcontext
    """What else goes on, on the host and around it, from before the agent starts."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it on one host."""

    clients: Mapping[str, Attempts]
    """Class → attempts that began after the agent's grace, while the attack went on."""
    reached: float
    """Share of the flood's counted SYNs that came to the listener after the grace; 0 where there is no flood."""
    bans: Mapping[str, str] = field(default_factory=dict)
    """Target → action of the agent's bans."""
    sent_pps: float = 0.0
    """What the flood came to."""

    def worst(self) -> float:
        """Return the share of the class that fares worst."""
        return min(attempts.share for attempts in self.clients.values())


def run(attack: Attack, *, agent: bool, newcomers_s: float = NEWCOMERS_S) -> Result:
    """Carry out one attack on a new host."""
    with (
        Lab(attack.victim, client_firewall=True) as lab,
        known_parties(lab),
        _ssh_from(SSH_PEER),
        ExitStack() as stack,
    ):
        if attack.web:
            lab.serve(attack.port)
        stack.enter_context(attack.stage(lab))
        _count(lab, attack.counted)
        if agent:
            guard = lab.agent(attack.config)
            guard.start("--enforce")
        regulars = _start(lab, attack, ("served",), 60.0)
        for one in _start(lab, attack, ("known",), EVERY_S, times=1):
            one.wait(20)
        if agent:
            kept = sum(len(some) for kind, some in attack.clients.values() if kind != "unknown")
            wait_for(lambda: guard.status().proven_peers >= kept, "clients to be known as served")
        time.sleep(BEFORE_S)
        flood = _attack(lab, attack)
        before, at = _counted(lab), time.monotonic()
        late = _start(lab, attack, ("unknown", "known"), newcomers_s)
        time.sleep(newcomers_s + EVERY_S)
        until, reached = time.monotonic(), _counted(lab) - before
        for one in (*regulars, *late):
            one.stop()
        bans = {one["target"]: one["action"] for one in guard.ask("bans")} if agent else {}
        attempts = [one for program in (*regulars, *late) for one in program.attempts().between(at, until).all]
        classes = {
            name: Attempts(one for one in attempts if one.source in set(some))
            for name, (_, some) in attack.clients.items()
        }
        sent = _sent(flood, until - at) if flood else 0.0
        return Result(classes, reached / sent if sent else 0.0, bans, sent / (until - at))


def _attack(lab: Lab, attack: Attack) -> SynFlood | None:
    """Begin the attack; return its flood, if it is one, once clients are to be looked at."""
    held = lab.start_connections(attack.held) if attack.held else None
    if attack.cover:
        lab.start_flood(FloodPlan(groups=attack.cover, pps=attack.pps, duration_s=60, ports=(attack.port,)), "cover")
    time.sleep(attack.head_start_s)
    if not attack.flood:
        time.sleep(attack.grace_s)
    if held is not None and not attack.stays:
        held.stop()
    if not attack.flood:
        return None
    plan = FloodPlan(groups=attack.flood, pps=attack.pps, duration_s=60, ports=(attack.port,), cpu=attack.cpu)
    flood = lab.start_flood(plan)
    time.sleep(max(flood.first_at + attack.grace_s - time.monotonic(), 0.0))
    return flood


def _sent(flood: SynFlood, seconds: float) -> float:
    """End a flood; return how many packets it sent in so long."""
    flood.stop()
    report = flood.report()
    return float(report["sent"]) * seconds / (float(report["last_at"]) - float(report["first_at"]))


def _start(
    lab: Lab, attack: Attack, kinds: tuple[Kind, ...], seconds: float, times: int | None = None
) -> list[Clients]:
    """Start the clients of some kinds, in a program for each family and site."""
    found = [source for kind, some in attack.clients.values() if kind in kinds for source in some]
    beside = [one for one in found if ":" not in one and ip_address(one) in ATTACKERS4]
    families = [[one for one in found if (":" in one) is six and one not in beside] for six in (False, True)]
    return [
        lab.start_clients(
            ClientPlan(
                sources=tuple(some),
                clients=len(some),
                interval_s=EVERY_S,
                arrive_within_s=EVERY_S,
                attempts_each=times,
                duration_s=seconds,
                timeout_s=PATIENCE_S,
                port=attack.port,
            ),
            f"{kinds[0]}-{number}",
            lab.attackers if some is beside else lab.clients,
        )
        for number, some in enumerate((*families, beside))
        if some
    ]


def _count(lab: Lab, counted: Sources) -> None:
    """Count SYNs behind every other rule of the firewall; the rule decides nothing."""
    rules = []
    for word, some in (("ip", [s for s in counted if ":" not in s]), ("ip6", [s for s in counted if ":" in s])):
        if some:
            rules.append(f"{word} saddr {{ {', '.join(some)} }} ")
    syn = "tcp flags & (fin | syn | rst | ack) == syn counter name syns"
    body = "\n".join(f"{rule}{syn}" for rule in rules or [""])
    lab.victim.nft(
        "table inet listener {\ncounter syns { }\n"
        f"chain seen {{\ntype filter hook input priority 300; policy accept;\n{body}\n}}\n}}\n"
    )


def _counted(lab: Lab) -> int:
    listing = json.loads(lab.victim.run(["nft", "--json", "list", "counter", "inet", "listener", "syns"]))
    return int(next(one["counter"]["packets"] for one in listing["nftables"] if "counter" in one))


@contextmanager
def _ssh_from(peer: str) -> Iterator[None]:
    """Have agents think that a person is logged in from there."""
    before = os.environ.get("SSH_CONNECTION")
    os.environ["SSH_CONNECTION"] = f"{peer} 50000 192.0.2.2 22"
    try:
        yield
    finally:
        if before is None:
            del os.environ["SSH_CONNECTION"]
        else:
            os.environ["SSH_CONNECTION"] = before


def _in4(first: int, count: int) -> Sources:
    """Return neighbours of one client /24."""
    return tuple(str(CLIENTS4[256 * 7 + first + number]) for number in range(count))


def _in6(first: int, count: int) -> Sources:
    """Return neighbours of one client /64."""
    return tuple(str(CLIENTS6[(7 << 64) + first + number]) for number in range(count))


FRAMED4: Final = str(CLIENTS4[256 * 7]) + "/24"
FRAMED6: Final = str(CLIENTS6[7 << 64]) + "/64"
_OUTSIDE: Final[Classes] = {
    "served, outside": ("served", client_sources(20, first=3000)),
    "unknown, outside": ("unknown", client_sources(20, first=3100)),
}
_INSIDE4: Final[Classes] = {
    "served, inside": ("served", _in4(10, 50)),
    "known, inside": ("known", _in4(70, 20)),
    "unknown, inside": ("unknown", _in4(100, 20)),
}
_INSIDE6: Final[Classes] = {
    "served, inside": ("served", _in6(10, 50)),
    "known, inside": ("known", _in6(70, 20)),
    "unknown, inside": ("unknown", _in6(100, 20)),
}
_PARTIES: Final = (GATEWAY, RESOLVER, SSH_PEER)
_SERVED: Final = client_sources(50, first=2000)
_UNKNOWN: Final = client_sources(50, first=2100)


def _of(kind: Kind, forged: Sources) -> Classes:
    """Return those whose addresses are forged, and clients outside."""
    return {f"{kind}, forged": (kind, forged)} | _OUTSIDE


def primed(*sources: str, pps: float = 15_000, cpu: int | None = None) -> Attack:
    """Return hosts that complete a handshake a second, before and while they flood."""
    clients: Classes = {"the flooding hosts": ("served", sources)}
    return Attack((hosts(*sources),), pps, clients | _OUTSIDE, counted=sources, cpu=cpu)


def heavy(count: int) -> Attack:
    """Return heavy sources among served clients of one /24, with no SYN cookies."""
    loud = _in4(200, count)
    return Attack((hosts(*loud),), 400.0 * count, _INSIDE4 | _OUTSIDE, loud, Victim(syncookies=0, backlog=128))


ATTACKS: Final[dict[str, Attack]] = {
    "a client /24, forged": Attack((prefix(FRAMED4),), 12_000, _INSIDE4 | _OUTSIDE),
    "a client /64, forged": Attack((prefix(FRAMED6),), 12_000, _INSIDE6 | _OUTSIDE),
    "50 unknown clients, forged": Attack((hosts(*_UNKNOWN),), 12_000, _of("unknown", _UNKNOWN)),
    "50 served clients, forged": Attack((hosts(*_SERVED),), 12_000, _of("served", _SERVED)),
    "gateway, resolver, SSH peer, forged": Attack((hosts(*_PARTIES),), 12_000, _of("served", _PARTIES)),
    "from everywhere": Attack((anywhere(4),), 12_000, _INSIDE4 | _OUTSIDE),
    "1 host that completed handshakes": primed(*client_sources(1, first=4000)),
    "64 hosts that completed handshakes": primed(*client_sources(64, first=4000)),
    "64 such hosts of one /24": primed(*_in4(10, 64)),
    "64 that completed handshakes, at full speed": primed(*client_sources(64, first=4000), pps=FASTEST_PPS, cpu=1),
    "12 heavy sources among 50 served": heavy(12),
    "20 heavy sources among 50 served": heavy(20),
}
