"""Decisions as CrowdSec's local API streams them, by the thousand and at the moment that a test chooses."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final

PORT: Final = 8080
EMPTY: Final = b'{"deleted":null,"new":null}'


def many(count: int, *more: str) -> bytes:
    """Return an answer with so many decisions about addresses, and about ``more``."""
    values = [*(f"{20 + n % 80}.{n >> 8 & 255}.{n & 255}.{1 + n % 250}" for n in range(count)), *more]
    new = [
        {
            "duration": f"3h{n % 60}m{n % 59}.{n:09d}s",
            "id": n,
            "origin": "CAPI",
            "scenario": "crowdsecurity/http-probing",
            "scope": "Ip",
            "type": "ban",
            "value": value,
        }
        for n, value in enumerate(values)
    ]
    return json.dumps({"deleted": None, "new": new}, separators=(",", ":")).encode()


class Answers(ThreadingHTTPServer):
    """A decision stream that is empty but for one answer."""

    next = EMPTY
    sent_at = 0.0
    """When the answer that is not empty was sent."""
    asked = 0
    """How often it was asked."""

    def take(self) -> bytes:
        """Return what is to be said now."""
        self.asked += 1
        body, self.next = self.next, EMPTY
        return body


class Handler(BaseHTTPRequestHandler):
    """Answers whatever is asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Say what is to be said."""
        server = self.server
        assert isinstance(server, Answers)
        body = server.take()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if body is not EMPTY:
            server.sent_at = time.monotonic()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def serve() -> Answers:
    """Return a server on loopback that has nothing to say yet."""
    server = Answers(("127.0.0.1", PORT), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server
