"""A small HTTP server for scrapes: one thread, few connections, each with little time, and only so many a second.

What it does not get to is left to the kernel's queue of connections, which costs nothing: a thousand scrapes a second,
or one that never says what it wants, take nothing from the agent's ticks.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Final

from synguard.errors import SynguardError
from synguard.logs import event

log: Final = logging.getLogger(__name__)

AT_ONCE: Final = 8
"""Connections that are answered at the same time."""
APART_S: Final = 0.05
"""Between two connections that are taken."""
PATIENCE_S: Final = 5.0
"""For one connection, from its first byte to its last."""
LONGEST_REQUEST: Final = 8192
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_INDEX: Final = b"synguard: figures for Prometheus are at /metrics\n"
_AGAIN_S: Final = 1.0


class MetricsServer:
    """Answers ``GET /metrics`` with what ``text`` returns."""

    def __init__(self, address: str, port: int, text: Callable[[], bytes]) -> None:
        """Listen at once, and answer after ``start``.

        Raises:
            SynguardError: The address or port cannot be had.
        """
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.name = f"[{address}]:{port}" if family == socket.AF_INET6 else f"{address}:{port}"
        try:
            self._listener = socket.create_server((address, port), family=family, backlog=AT_ONCE)
        except OSError as error:
            why = os.strerror(error.errno).lower() if error.errno else str(error)
            raise SynguardError(
                f"metrics are not served: {self.name}: {why}; "
                "set [metrics] listen to a free address and port, and restart"
            ) from error
        self._listener.setblocking(False)
        self._text = text
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._ended = asyncio.Event()
        self.problem = ""
        """Why nothing is answered any more; empty while all is well."""

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End at once; connections that are open are closed."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(1.0)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as error:  # a fault of ours must be reported, and must not end what protects
            self.problem = f"metrics have stopped: {type(error).__name__} in synguard itself; please report it"
            log.exception("%s", self.problem, extra=event("metrics", listen=self.name))
        finally:
            self._listener.close()
            self._loop.close()

    async def _serve(self) -> None:
        slots = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            taking = group.create_task(self._take(group, slots))
            await self._ended.wait()
            taking.cancel()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

    async def _take(self, group: asyncio.TaskGroup, slots: asyncio.Semaphore) -> None:
        while True:
            await slots.acquire()
            try:
                connection, _ = await self._loop.sock_accept(self._listener)
            except OSError as error:
                slots.release()
                log.debug("a scrape was not taken: %s", error.strerror, extra=event("metrics", listen=self.name))
                await asyncio.sleep(_AGAIN_S)
                continue
            group.create_task(self._answer(connection, slots))
            await asyncio.sleep(APART_S)

    async def _answer(self, connection: socket.socket, slots: asyncio.Semaphore) -> None:
        try:
            with connection:
                connection.setblocking(False)
                async with asyncio.timeout(PATIENCE_S):
                    request = await self._request(connection)
                    await self._loop.sock_sendall(connection, answer(request, self._text))
        except (OSError, TimeoutError):
            pass  # it went away, or took too long: there is no one to tell
        finally:
            slots.release()

    async def _request(self, connection: socket.socket) -> bytes:
        """Return the head of a request, or what came of it before it grew too long or ended."""
        request = b""
        while b"\r\n\r\n" not in request and b"\n\n" not in request and len(request) < LONGEST_REQUEST:
            more = await self._loop.sock_recv(connection, 2048)
            if not more:
                break
            request += more
        return request


def answer(request: bytes, text: Callable[[], bytes]) -> bytes:
    """Return the whole answer to a request's head."""
    words = request.split(b"\n", 1)[0].split()
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return _response("400 Bad Request", b"this is HTTP\n")
    method, target, _ = words
    if method not in (b"GET", b"HEAD"):
        return _response("405 Method Not Allowed", b"only GET\n", "Allow: GET, HEAD\r\n")
    path = target.split(b"?", 1)[0]
    if path == b"/metrics":
        response = _response("200 OK", text(), content_type=CONTENT_TYPE)
    elif path == b"/":
        response = _response("200 OK", _INDEX)
    else:
        response = _response("404 Not Found", _INDEX)
    return response if method == b"GET" else response.split(b"\r\n\r\n", 1)[0] + b"\r\n\r\n"


def _response(status: str, body: bytes, more: str = "", content_type: str = "text/plain; charset=utf-8") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}{more}Connection: close\r\n\r\n".encode() + body
