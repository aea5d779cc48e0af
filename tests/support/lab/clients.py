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
        """Make attempts from ``begin`` to ``end``, both on the event loop's clock.

        New connections begin on time whether or not earlier ones have ended, so that a slow victim is not asked
        less often and does not look better for it. Exchanges on one kept connection wait for each other.
        """
        due, under_way = begin, set[asyncio.Task[None]]()
        made = 0
        while due < end and made != self._plan.attempts_each and not await _stopped_before(due, stop):
            if self._plan.keep_alive:
                await self._exchange_again()
            else:
                under_way.add(asyncio.create_task(self._visit()))
            made += 1
            due += self._plan.interval_s
        await asyncio.gather(*under_way)
        if self._kept is not None:
            self._kept.close()

    async def _visit(self) -> None:
        """Open a connection, get the page, close."""
        at, connected, outcome = time.monotonic(), None, "ok"
        sock = new_socket(self._source)
        try:
            async with asyncio.timeout(self._plan.timeout_s):
                await self._connect(sock)
                connected = time.monotonic() - at
                await exchange(sock)
        except (OSError, BadAnswerError) as error:
            outcome = outcome_of(error, connected is not None)
        finally:
            sock.close()
        self._tell(at, connected, outcome)

    async def _exchange_again(self) -> None:
        """Get the page over the kept connection, which is opened once and lost for good on the first failure."""
        at, connected, outcome = time.monotonic(), None, "ok"
        established = self._kept is not None
        try:
            async with asyncio.timeout(self._plan.timeout_s):
                if self._kept is None:
                    self._kept = new_socket(self._source)
                    await self._connect(self._kept)
                    connected, established = time.monotonic() - at, True
                if not self._lost:
                    await exchange(self._kept)
        except (OSError, BadAnswerError) as error:
            outcome = outcome_of(error, established)
        if self._lost:
            outcome = "lost"
        self._lost = outcome != "ok"
        self._tell(at, connected, outcome)

    async def _connect(self, sock: socket.socket) -> None:
        await asyncio.get_running_loop().sock_connect(sock, (self._plan.target, self._plan.port))

    def _tell(self, at: float, connected: float | None, outcome: str) -> None:
        _say(
            {
                "event": "attempt",
                "client": self._number,
                "source": self._source,
                "at": at,
                "connect_s": connected,
                "total_s": time.monotonic() - at,
                "outcome": outcome,
            }
        )


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
