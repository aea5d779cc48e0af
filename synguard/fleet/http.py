"""HTTP to one peer of the fleet, bounded in bytes and time, with nothing secret in any error's text."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from synguard import __version__
from synguard.errors import FleetError
from synguard.plain import clipped, printable

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

MOST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of one answer: some 300,000 decisions."""
PATIENCE_S: Final = 30.0
"""How long one answer may take from the first byte sent to the last received."""
CONNECT_S: Final = 5.0
READ_S: Final = 10.0
_PIECE: Final = 1 << 16
_LONGEST: Final = 160
_PEER: Final = "the CrowdSec local API"


class HttpPeer:
    """Requests to one base URL over one connection."""

    def __init__(self, url: str, ca_file: Path | None, secrets: Sequence[str]) -> None:
        self._base = url.rstrip("/")
        self._ca_file = ca_file
        self.secrets = list(secrets)
        """What no text may show."""
        self._line = _Line()
        self._made: PoolManager | None = None

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: object = None) -> tuple[int, bytes]:
        """Return status and body of one request; a redirection is not followed: it would take the secret elsewhere.

        Raises:
            FleetError: There was no answer, or a larger or slower one than is taken.
        """
        import urllib3

        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        sent = {**headers, "User-Agent": f"synguard/{__version__}"}
        if data is not None:
            sent["Content-Type"] = "application/json"
        self._line.late = False
        watch = threading.Timer(PATIENCE_S, self._line.cut)
        watch.daemon = True
        watch.start()
        try:
            response = self._pool.request(
                method, self._base + path, headers=sent, body=data, preload_content=False, redirect=False
            )
            try:
                answer = response.status, _body(response)
            except BaseException:
                response.close()  # what is left of it must not be read as the next answer
                raise
            if self._line.late:  # a head that was cut reads like one that has ended
                raise TimeoutError
            response.release_conn()
            return answer
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            if self._line.late:
                raise FleetError(f"{_PEER} takes longer than {PATIENCE_S:g} s for one answer") from error
            raise FleetError(f"{_PEER} does not answer: {self._hidden(_why(error))}") from error
        finally:
            watch.cancel()

    def refused(self, what: str, body: bytes) -> FleetError:
        """Return the error of an answer that is none, with the peer's own words."""
        return FleetError(f"{_PEER} {what}: {self._hidden(_words(body))}")

    def close(self) -> None:
        """Close the connection."""
        if self._made is not None:
            self._made.clear()
        self._line.hang_up()

    def _hidden(self, text: str) -> str:
        """Return a text without our secrets, which a peer could send back in what it says."""
        for secret in self.secrets:
            text = text.replace(secret, "…")
        return clipped(printable(text), _LONGEST)

    @property
    def _pool(self) -> PoolManager:
        if self._made is None:
            self._made = self._new_pool()
        return self._made

    def _new_pool(self) -> PoolManager:
        import urllib3
        from urllib3.connection import HTTPConnection, HTTPSConnection

        line = self._line

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return line.hold(super()._new_conn())

        class Tls(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return line.hold(super()._new_conn())

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class TlsPool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Tls

        pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=1,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
            ca_certs=None if self._ca_file is None else str(self._ca_file),
        )
        pool.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}
        return pool


class _Line:
    """A second handle on the connection's socket, to cut it: a peer that drips bytes outlasts every other timeout."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self.late = False

    def hold(self, made: socket.socket) -> socket.socket:
        self.hang_up()
        self._socket = made.dup()
        return made

    def cut(self) -> None:
        self.late = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _body(response: BaseHTTPResponse) -> bytes:
    pieces: list[bytes] = []
    size = 0
    for piece in response.stream(_PIECE, decode_content=False):
        pieces.append(piece)
        size += len(piece)
        if size > MOST_BYTES:
            raise FleetError(f"{_PEER} answers with more than {MOST_BYTES // 2**20} MiB")
    return b"".join(pieces)


def _words(body: bytes) -> str:
    """Return what an error's body says."""
    try:
        said: Any = json.loads(body[:_PIECE])
        return said["message"] if isinstance(said, dict) and isinstance(said.get("message"), str) else "no reason given"
    except (ValueError, RecursionError):
        return "an answer that is not JSON; is this its URL?"


def _why(error: Exception) -> str:
    """Return the last and most exact reason of a chain of errors, in a few words."""
    import urllib3

    if isinstance(error, urllib3.exceptions.NewConnectionError):
        cause = error.__cause__ or error.__context__
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "it took too long"
    if isinstance(error, urllib3.exceptions.SSLError):
        return f"its certificate is not accepted: {error}"
    return str(error) or type(error).__name__
