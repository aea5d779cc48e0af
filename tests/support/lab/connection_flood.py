"""Opens and holds real connections: ``python -m tests.support.lab.connection_flood PLAN-JSON``.

Prints ``{"event": "started", "first_at": …}``, and every quarter of a second ``{"event": "held", …}`` with the
connections that stand as this side sees them. On one more connection per source a page is asked for again and
again; each ``{"event": "probe", "source": …, "answered": …}`` tells whether existing connections still get through,
which the count of held ones cannot: a dropped packet closes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import signal
import socket
import sys
import time
from typing import Any, Final

from tests.support.lab.connection_plan import ConnectionPlan
from tests.support.lab.http_exchange import BadAnswerError, exchange, new_socket

_REPORT_S: Final = 0.25
_PROBE_S: Final = 0.25
_PROBE_PATIENCE_S: Final = 1.0
_BEGINNING: Final = b"GET / HTTP/1.1\r\nHost: victim\r\nX: "
"""A request whose last header never ends."""


class Flood:
    """All connections of the flood and their count."""

    def __init__(self, plan: ConnectionPlan) -> None:
        self._plan = plan
        self.held = self.opened = self.failed = self.closed = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Open, hold and probe until told to stop."""
        plan, first_at = self._plan, time.monotonic()
        _say({"event": "started", "first_at": first_at})
        jobs = [asyncio.create_task(self._report()), *(asyncio.create_task(self._probe(s)) for s in plan.sources)]
        for number in range(plan.each * len(plan.sources)):
            source, delay = plan.sources[number % len(plan.sources)], number / plan.opens_per_second
            jobs.append(asyncio.create_task(self._keep_open(source, delay)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(plan.duration_s):
                await stop.wait()
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        _say({"event": "finished", "first_at": first_at, **self._counts()})

    async def _keep_open(self, source: str, delay: float) -> None:
        await asyncio.sleep(delay)
        while True:
            sock = new_socket(source)
            try:
                async with asyncio.timeout(self._plan.timeout_s):
                    await self._connect(sock)
                self.opened += 1
                self.held += 1
                try:
                    await self._hold(sock)
                finally:
                    self.held -= 1
                self.closed += 1
            except OSError:
                self.failed += 1
            finally:
                sock.close()
            await asyncio.sleep(self._plan.retry_s)

    async def _connect(self, sock: socket.socket) -> None:
        await asyncio.get_running_loop().sock_connect(sock, (self._plan.target, self._plan.port))

    async def _hold(self, sock: socket.socket) -> None:
        """Return when the other side closes, trickling meanwhile."""
        trickle = asyncio.create_task(self._trickle(sock)) if self._plan.trickle_s else None
        try:
            await asyncio.get_running_loop().sock_recv(sock, 1024)
        finally:
            if trickle is not None:
                trickle.cancel()

    async def _trickle(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, _BEGINNING)
        while self._plan.trickle_s:
            await asyncio.sleep(self._plan.trickle_s)
            await loop.sock_sendall(sock, b"a")

    async def _probe(self, source: str) -> None:
        """Ask for the page over one connection for good; after the first failure every answer is no."""
        sock, standing = new_socket(source), True
        try:
            async with asyncio.timeout(self._plan.timeout_s):
                await self._connect(sock)
        except OSError:
            standing = False
        while True:
            if standing:
                try:
                    async with asyncio.timeout(_PROBE_PATIENCE_S):
                        await exchange(sock)
                except (OSError, BadAnswerError):
                    standing = False
            _say({"event": "probe", "source": source, "at": time.monotonic(), "answered": standing})
            await asyncio.sleep(_PROBE_S)

    async def _report(self) -> None:
        while True:
            _say({"event": "held", "at": time.monotonic(), **self._counts()})
            await asyncio.sleep(_REPORT_S)

    def _counts(self) -> dict[str, int]:
        return {"held": self.held, "opened": self.opened, "failed": self.failed, "closed": self.closed}


async def _main(plan: ConnectionPlan) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    await Flood(plan).run(stop)


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run the plan given as JSON."""
    plan = ConnectionPlan.model_validate_json(sys.argv[1])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_main(plan))


if __name__ == "__main__":
    main()
