"""One HTTP exchange from a chosen source address, on asyncio's event loop."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from tests.support.lab.webserver import PAGE

REQUEST: Final = b"GET / HTTP/1.1\r\nHost: victim\r\nUser-Agent: lab\r\n\r\n"
_OK: Final = b"HTTP/1.1 200"
_IP_BIND_ADDRESS_NO_PORT: Final = 24


class BadAnswerError(Exception):
    """The server answered, but not with the page."""


def new_socket(source: str) -> socket.socket:
    """Return a non-blocking TCP socket that will connect from ``source``, any address of the site.

    The port is left to ``connect``, so that a source is not limited to one connection per local port.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))
    except OSError:
        sock.close()
        raise
    return sock


async def exchange(sock: socket.socket) -> None:
    """Ask for the page on an open connection and read all of it; the connection stays open.

    Raises:
        BadAnswerError: The answer is not the page.
        ConnectionError: The connection was reset.
    """
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, REQUEST)
    answer = b""
    while not answer.endswith(PAGE):
        part = await loop.sock_recv(sock, 4096)
        if not part or len(answer) > 8192:
            raise BadAnswerError(answer[:80])
        answer += part
    if not answer.startswith(_OK):
        raise BadAnswerError(answer[:80])


def outcome_of(error: BaseException, connected: bool) -> str:
    """Return how a failed attempt is called in results."""
    if isinstance(error, TimeoutError):
        return "read_timeout" if connected else "connect_timeout"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, ConnectionError):
        return "reset"
    return "bad_answer" if isinstance(error, BadAnswerError) else "unreachable"
