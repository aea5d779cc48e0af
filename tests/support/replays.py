"""The attacks of docs/threat-model.md with real packets: on the host with the agent, and on the same host without.

Smaller than they were where less does the same: web servers with 500 places instead of 1,536 and 4,000 instead of
60,000, a table of proven peers for 300 instead of 65,536.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from typing import Final

from tests.support.framing import RESOLVER
from tests.support.lab.client_plan import client_sources
from tests.support.lab.connection_plan import ConnectionPlan, attacker_sources
from tests.support.lab.container import GATEWAY4, Container
from tests.support.lab.flood_plan import Look, anywhere, hosts, prefix
from tests.support.lab.lab import Lab
from tests.support.lab.topology import ATTACKERS4, CLIENTS4, VICTIM4, Victim, client4
from tests.support.protection import scattered
from tests.support.side_by_side import CONFIG, Attack, Classes, run

PLACES: Final = 500
LISTENERS: Final = 57_000
LARGE: Final = Victim(backlog=128, places=4000)
OUTSIDE: Final[Classes] = {
    "served": ("served", client_sources(20, first=3000)),
    "unknown": ("unknown", client_sources(20, first=3100)),
}
PEOPLE: Final[Classes] = {"people beside": ("served", tuple(str(ATTACKERS4[200 + n]) for n in range(40)))}
"""Served clients of the /24 that attackers have addresses in."""
SERVED: Final = client_sources(50, first=2000)
FORGED: Final[Classes] = {"served, forged": ("served", SERVED)}
NEWCOMERS: Final[Classes] = {"of the /16": ("unknown", client_sources(40, first=3000))}
BESIDE_RESOLVER: Final = tuple(str(ip_network(f"{RESOLVER}/24", strict=False)[100 + n]) for n in range(8))
SPREAD: Final = tuple(str(CLIENTS4[256 * (n + 1) + 250]) for n in range(240))
"""One address of each /24 of fifteen /20s of the clients' /16."""
NETWORKS: Final = tuple(f"203.{n}.114.0/24" for n in range(20))
CROWD: Final = tuple(str(ip_network(one)[7 + n]) for one in NETWORKS for n in range(25))
ADMIN: Final = str(client4(4000))
THE_ADMIN: Final[Classes] = {"the administrator": ("unknown", (ADMIN,))}
BEHIND: Final = "2001:db8:bad::/48"


LISTENS: Final = """
import os, resource, socket, sys, time
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
first, last, children = 1024, 1024 + int(sys.argv[1]), 0
told, tells = os.pipe()
while first < last:
    here = range(first, min(first + most - 100, last))
    first = here.stop
    if first < last:
        if os.fork() == 0:
            children = -1
            break
        children += 1
held = []
for port in here:
    one = socket.socket()
    one.bind(("", port))
    one.listen(1)
    held.append(one)
if children < 0:
    os.write(tells, b".")
else:
    for _ in range(children):
        os.read(told, 1)
    print('{"event": "ready"}', flush=True)
time.sleep(120)
"""
SLOTS: Final = """
import selectors, socket, sys
most, ready = int(sys.argv[1]), selectors.DefaultSelector()
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("", 80))
listener.listen(128)
listener.setblocking(False)
taken, accepting = {}, False
print('{"event": "ready"}', flush=True)
while True:
    if accepting != (len(taken) < most):
        accepting = not accepting
        (ready.register if accepting else lambda one, _: ready.unregister(one))(listener, selectors.EVENT_READ)
    for key, _ in ready.select():
        one = key.fileobj
        if one is listener:
            taken[accepted := listener.accept()[0]] = b""
            accepted.setblocking(False)
            ready.register(accepted, selectors.EVENT_READ)
            continue
        try:
            got = one.recv(4096)
        except OSError:
            got = b""
        taken[one] += got
        if got and not taken[one].endswith(b"\\r\\n\\r\\n"):
            continue
        if got:
            one.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 7\\r\\n\\r\\nserved\\n")
        ready.unregister(one)
        one.close()
        del taken[one]
"""
"""A web server with so many workers: clients wait while all are busy, and it waits for requests without end."""
CHURNS: Final = """
import socket, struct, sys, time
ends = time.monotonic() + 60
while time.monotonic() < ends:
    with socket.socket() as one:
        one.settimeout(0.2)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.bind((sys.argv[1], 0))
        try:
            one.connect((sys.argv[2], 80))
            one.send(b"GET / HTTP/1.1\\r\\nHost: victim\\r\\n\\r\\n")
        except OSError:
            pass
"""
HOLDS: Final = """
import socket, sys, time
held = []
while len(held) < int(sys.argv[2]):
    try:
        held.append(socket.create_connection((sys.argv[1], 80), 5))
    except OSError:
        break
    held[-1].send(b"GET / HTTP/1.1\\r\\nHost: victim\\r\\nX: ")
time.sleep(60)
"""


@contextmanager
def slots(lab: Lab) -> Iterator[None]:
    """All places of the web server may be taken."""
    lab.start(lab.victim, [sys.executable, "-c", SLOTS, str(PLACES)], "slots").wait_line("ready", 30)
    yield


@contextmanager
def listening(lab: Lab) -> Iterator[None]:
    """A local user opens as many listeners as there are ports."""
    lab.start(lab.victim, [sys.executable, "-c", LISTENS, str(LISTENERS)], "listens").wait_line("ready", 60)
    yield


@contextmanager
def churning(lab: Lab) -> Iterator[None]:
    """One source opens connections as fast as it can, and resets each at once."""
    lab.start(lab.attackers, [sys.executable, "-c", CHURNS, attacker_sources(1)[0], str(VICTIM4)], "churns")
    yield


@contextmanager
def holding_inside(lab: Lab) -> Iterator[None]:
    """A container that serves something holds all places of the host's web server."""
    with slots(lab), Container(lab) as container:
        container.serve()
        lab.start(container.namespace, [sys.executable, "-c", HOLDS, GATEWAY4, str(PLACES + 100)], "holds")
        yield


def holding(count: int, each: int, per_second: float = 2000.0) -> ConnectionPlan:
    """Return hosts that hold connections each, with a request that never ends: nginx closes idle ones for others."""
    return ConnectionPlan(
        sources=attacker_sources(count),
        each=each,
        opens_per_second=per_second,
        trickle_s=20.0,
        duration_s=60,
    )


def held(plan: ConnectionPlan, clients: Classes, grace_s: float = 8.0, *, stays: bool = True, few: bool) -> Attack:
    """Return an attack by real connections alone: on nginx, or on a web server with ``few`` places."""
    if few:
        return Attack((), 1, clients, held=plan, grace_s=grace_s, stays=stays, web=False, stage=slots)
    return Attack((), 1, clients, victim=LARGE, held=plan, grace_s=grace_s, stays=stays)


REPLAYS: Final[dict[int, Attack]] = {
    1: Attack(
        (hosts(*scattered(70)),),
        14_000,
        OUTSIDE,
        victim=LARGE,
        held=holding(6, 1000),
        grace_s=10.0,
    ),
    2: held(holding(8, 1000), PEOPLE | OUTSIDE, 10.0, few=False),
    3: held(holding(16, 395), PEOPLE | OUTSIDE, few=False),
    4: held(holding(4, 160, 160), OUTSIDE, 14.0, few=True),
    5: Attack(
        (hosts(*SERVED),),
        12_000,
        FORGED | OUTSIDE,
        held=ConnectionPlan(sources=attacker_sources(1000, 6), each=1, opens_per_second=500, duration_s=60),
        head_start_s=3.0,
        config=CONFIG + "[proven]\nat_most = 300\n",
    ),
    6: Attack(
        (hosts("2001:db8:a:1::dead"),),
        10_000,
        OUTSIDE,
        ("2001:db8:a:1::dead",),
        held=ConnectionPlan(sources=("2001:db8:a:1::66",), each=1, duration_s=60),
        head_start_s=2.0,
    ),
    7: Attack((hosts(*BESIDE_RESOLVER),), 15_000, OUTSIDE, BESIDE_RESOLVER),
    8: Attack(
        (hosts(ADMIN),),
        22,
        THE_ADMIN,
        (ADMIN,),
        Victim(backlog=16),
        grace_s=4.0,
        config='policies = ["bastion"]\n' + CONFIG,
        port=22,
    ),
    9: Attack((hosts(ADMIN),), 0.5, OUTSIDE, (ADMIN,), Victim(backlog=1)),
    10: Attack((), 1, OUTSIDE, grace_s=6.0, stage=churning),
    11: Attack((prefix(BEHIND, distinct=4000, look=Look(headers=(128,))),), 12_000, OUTSIDE, (BEHIND,)),
    12: Attack(
        (prefix("198.18.7.0/24", look=Look(fragment=8)),),
        12_000,
        OUTSIDE,
        ("198.18.7.0/24",),
        config='plane = "nftables"\n' + CONFIG,
    ),
    13: Attack((hosts("198.18.7.9"),), 12_000, OUTSIDE, ("198.18.7.9",), stage=listening),
    14: held(holding(1, 1100), OUTSIDE, stays=False, few=True),
    15: Attack((hosts(*SPREAD),), 5400, NEWCOMERS, SPREAD),
    16: Attack((hosts(*CROWD),), 10_000, OUTSIDE, NETWORKS, cover=(anywhere(4),), head_start_s=4.0),
    17: Attack((), 1, OUTSIDE, grace_s=10.0, web=False, stage=holding_inside),
}
"""Row of ``make attackers`` → the attack."""


def main() -> None:
    """Replay rows: ``python -m tests.support.replays (agent|alone) ROW…``; print a line of JSON for each, or null."""
    for number in map(int, sys.argv[2:]):
        attack, line = REPLAYS[number], None
        try:
            result = run(attack, agent=sys.argv[1] == "agent", newcomers_s=3.0)
            line = {"clients": result.worst(), "syns": result.reached if attack.flood else None}
        except Exception:  # the other rows are played all the same
            traceback.print_exc()
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
