"""Services on loopback that messages go to: they take, refuse, are slow, fail at TLS, or never answer."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller


class Web:
    """An HTTP server that keeps what it is sent; ``answers`` are given one after another, the last for good."""

    def __init__(self, *answers: int, delay_s: float = 0.0, drip: bool = False, tls: Path | None = None) -> None:
        self.answers = list(answers or (200,))
        self.bodies: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                web.headers.append(dict(self.headers.items()))
                data = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(delay_s)
                answer = web.answers.pop(0) if len(web.answers) > 1 else web.answers[0]
                self.send_response(answer)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()
                while drip and not web.closed.wait(0.05):
                    self.wfile.write(b"x" * 65536)
                if 200 <= answer < 300:
                    web.raw.append(data)
                    web.bodies.append(json.loads(data))

            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def handle(self) -> None:
                with suppress(OSError):  # the client went away, as it should from a server that never ends
                    super().handle()

        self.closed = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.scheme = "http"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            plain = self._server.socket
            self._server.socket = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            self.scheme = "https"
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def url(self, path: str = "/hook/s3cr3t-t0ken", login: str = "") -> str:
        """Return a URL of it, with something secret in its path."""
        return f"{self.scheme}://{login}127.0.0.1:{self.port}{path}"

    def __enter__(self) -> Web:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()


class Mail:
    """An SMTP server that keeps what it takes."""

    def __init__(self, refuse: str = "") -> None:
        self.taken: list[str] = []
        self._refuse = refuse
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802
        """Take or refuse a mail; its name is the library's."""
        if self._refuse:
            return self._refuse
        self.taken.append(envelope.content.decode("utf-8", "replace"))
        return "250 OK"

    @property
    def url(self) -> str:
        """The URL of a service that mails there."""
        return f"mailto://127.0.0.1:{self.port}/?from=synguard@example.org&to=ops@example.org&mode=insecure"

    def __enter__(self) -> Mail:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()


@contextmanager
def silent_port() -> Iterator[int]:
    """Give a port that takes connections and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def free_port() -> int:
    """Return a port on loopback that nothing listens on now."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


def self_signed(directory: Path) -> Path:
    """Return a file with a certificate that nobody trusts and its key."""
    path = directory / "own.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(path), "-out", str(directory / "cert.pem"), "-days", "2", "-subj", "/CN=127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (directory / "cert.pem").read_bytes())
    return path
