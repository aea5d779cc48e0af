"""Made-up readings of an honest server: many clients, none of them loud."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from synguard.readings import CounterReading, Readings
from synguard.socket_table import TcpState
from tests.support.traffic import listener, sockets, table


def clients(count: int, seed: int = 1) -> list[str]:
    """Return addresses from all over the address space."""
    chance = random.Random(seed)
    return [str(ip_address(chance.randrange(1 << 24, 224 << 24))) for _ in range(count)]


def calm(
    seconds: float,
    count: int = 60,
    loud: Mapping[str, int] | None = None,
    flood: Mapping[str, int] | None = None,
    flood_at: tuple[float, float] = (0.0, 0.0),
    port: int = 80,
    tick_s: float = 0.2,
    connections_every: int = 5,
) -> Iterator[Readings]:
    """Yield ticks with a connection or two of each client.

    ``loud`` adds sources with that many connections all the time, ``flood`` sources with that many half-open sockets
    between the two moments of ``flood_at``. Connections are read less often than each tick,
    as the agent does.
    """
    crowd = {address: 1 + index % 3 for index, address in enumerate(clients(count))} | dict(loud or {})
    established = table(crowd, port, TcpState.ESTABLISHED)
    quiet, full = table({next(iter(crowd)): 1}, port), table(dict(flood or {}), port)
    for tick in range(int(seconds / tick_s)):
        at = tick * tick_s
        attacked = flood_at[0] <= at < flood_at[1]
        yield Readings(
            at=at,
            half_open=sockets(at, full if attacked else quiet),
            listeners=(listener(port),),
            connections=sockets(at, established) if tick % connections_every == 0 else None,
            counters=CounterReading(at, {"PassiveOpens": tick}),
        )
