"""Legitimate clients that ask for a page again and again: ``python -m tests.support.lab.clients PLAN-JSON``.

Prints ``{"event": "started"}``, then one line ``{"event": "attempt", …}`` for each attempt when it ends. On
SIGTERM no new attempts begin and those under way are seen through.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import signal
import socket
import sys
import time
from typing import Any

from tests.support.lab.client_plan import ClientPlan
from tests.support.lab.http_exchange import BadAnswerError, exchange, new_socket, outcome_of


class Client:
    """One client: its address, and the connection it keeps if it is a persistent one."""

    def __init__(self, number: int, plan: ClientPlan) -> None:
        self._number, self._plan = number, plan
        self._source = plan.sources[number % len(plan.sources)]
        self._kept: socket.socket | None = None
        self._lost = False

    async def live(self, begin: float, end: float, stop: asyncio.Event) -> None:
        """Make attempts from ``begin`` to ``end``, both on the event loop's clock."""
        made, due = 0, begin
        while due < end and made != self._plan.attempts_each:
            if await _stopped_before(due, stop):
                break
            await self._attempt()
            made += 1
            due = max(due + self._plan.interval_s, asyncio.get_running_loop().time())
        if self._kept is not None:
            self._kept.close()

    async def _attempt(self) -> None:
        at, connected, outcome = time.monotonic(), None, "ok"
        fresh = self._kept is None
        try:
            if self._lost:
                outcome = "lost"
            else:
                async with asyncio.timeout(self._plan.timeout_s):
                    sock = await self._connection()
                    connected = time.monotonic() - at
                    await exchange(sock)
        except (OSError, BadAnswerError) as error:
            outcome = outcome_of(error, connected is not None)
            self._lost = self._plan.keep_alive
        if self._kept is not None and not self._plan.keep_alive:
            self._kept.close()
            self._kept = None
        _say(
            {
                "event": "attempt",
                "client": self._number,
                "source": self._source,
                "at": at,
                "connect_s": connected if fresh else None,
                "total_s": time.monotonic() - at,
                "outcome": outcome,
            }
        )

    async def _connection(self) -> socket.socket:
        if self._kept is None:
            self._kept = new_socket(self._source)
            await asyncio.get_running_loop().sock_connect(self._kept, (self._plan.target, self._plan.port))
        return self._kept


async def _stopped_before(due: float, stop: asyncio.Event) -> bool:
    """Wait until ``due``; return True at once if the program is told to stop."""
    delay = due - asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(max(delay, 0.0)):
            await stop.wait()
    except TimeoutError:
        return stop.is_set()
    return True


async def _crowd(plan: ClientPlan) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    arrivals = [(number + 0.5) / plan.clients * plan.arrive_within_s for number in range(plan.clients)]
    random.Random(plan.seed).shuffle(arrivals)
    begin = loop.time() + 0.05
    _say({"event": "started", "at": time.monotonic()})
    clients = [Client(number, plan) for number in range(plan.clients)]
    end = begin + plan.duration_s
    await asyncio.gather(
        *(client.live(begin + late, end, stop) for client, late in zip(clients, arrivals, strict=True))
    )


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run the plan given as JSON."""
    plan = ClientPlan.model_validate_json(sys.argv[1])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_crowd(plan))


if __name__ == "__main__":
    main()
