"""CrowdSec's local API (LAPI) over HTTP: decisions with an API key, alerts as a machine; bounded in bytes and time."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from synguard import __version__
from synguard.errors import FleetError
from synguard.plain import clipped, printable

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

MOST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of one answer: some 300,000 decisions."""
PATIENCE_S: Final = 30.0
"""How long one answer may take from the first byte sent to the last received."""
_CONNECT_S: Final = 5.0
_READ_S: Final = 10.0
_PIECE: Final = 1 << 16
_SCENARIOS: Final = ("synguard/connection-flood", "synguard/syn-flood", "synguard/spoofed-source-flood")


class _Http:
    """Requests to one base URL; nothing secret is ever in an error's text."""

    def __init__(self, url: str, ca_file: Path | None) -> None:
        import urllib3

        self._base = url.rstrip("/")
        self._pool: PoolManager = urllib3.PoolManager(
            num_pools=1,
            maxsize=1,
            retries=False,
            timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S),
            ca_certs=None if ca_file is None else str(ca_file),
            headers={"User-Agent": f"synguard/{__version__}"},
        )

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: object = None) -> tuple[int, bytes]:
        """Return status and body of one request.

        Raises:
            FleetError: There was no answer, or a larger or slower one than is taken.
        """
        import urllib3

        ends_at = time.monotonic() + PATIENCE_S
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        sent = {**headers, "User-Agent": f"synguard/{__version__}"}
        if data is not None:
            sent["Content-Type"] = "application/json"
        try:
            response = self._pool.request(
                method, self._base + path, headers=sent, body=data, preload_content=False, redirect=False
            )
            try:
                answer = response.status, _body(response, ends_at)
            except BaseException:
                response.close()  # what is left of it must not be read as the next answer
                raise
            response.release_conn()
            return answer
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise FleetError(f"the CrowdSec local API does not answer: {_why(error)}") from error

    def close(self) -> None:
        """Close its connection."""
        self._pool.clear()


class DecisionSource:
    """Decisions of a local API, read as what CrowdSec calls a bouncer: with an API key of this host's own."""

    def __init__(self, url: str, api_key: str, ca_file: Path | None = None) -> None:
        self._http = _Http(url, ca_file)
        self._headers = {"X-Api-Key": api_key}

    def stream(self, *, complete: bool) -> bytes:
        """Return the answer of the decision stream: all of it, or what changed since this key last asked.

        Raises:
            FleetError: The local API is away, refuses the key, or answers with an error.
        """
        query = urlencode({"startup": "true" if complete else "false", "scopes": "Ip,Range"})
        status, body = self._http.ask("GET", f"/v1/decisions/stream?{query}", self._headers)
        if status in (401, 403):
            raise FleetError("the CrowdSec local API refuses the API key: make one with: cscli bouncers add NAME")
        if status != 200:
            raise FleetError(f"the CrowdSec local API answers {status}: {_words(body)}")
        return body

    def close(self) -> None:
        """Close its connection."""
        self._http.close()


class AlertSink:
    """Alerts for a local API, sent as what CrowdSec calls a machine; it logs in again when its token has ended."""

    def __init__(self, url: str, machine_id: str, password: str, ca_file: Path | None = None) -> None:
        self._http = _Http(url, ca_file)
        self._login = {"machine_id": machine_id, "password": password, "scenarios": list(_SCENARIOS)}
        self._machine_id = machine_id
        self._token = ""

    def send(self, alerts: Sequence[Mapping[str, object]]) -> None:
        """Send alerts in one request.

        Raises:
            FleetError: The local API is away, refuses the machine, or does not take them.
        """
        status, body = self._as_machine("POST", "/v1/alerts", list(alerts))
        if status != 201:
            raise FleetError(f"the CrowdSec local API does not take alerts: {status}: {_words(body)}")

    def withdraw(self, value: str, scenario: str) -> int:
        """Delete the decisions about ``value`` that this machine's alerts of a scenario brought; return how many.

        Raises:
            FleetError: The local API is away, or refuses.
        """
        query = urlencode({"range" if "/" in value else "ip": value, "scenario": scenario, "limit": 100})
        status, body = self._as_machine("GET", f"/v1/alerts?{query}")
        if status != 200:
            raise FleetError(f"the CrowdSec local API does not list our alerts: {status}: {_words(body)}")
        deleted = 0
        for decision in _decision_ids(body, self._machine_id, value):
            status, body = self._as_machine("DELETE", f"/v1/decisions/{decision}")
            if status not in (200, 404):
                raise FleetError(f"the CrowdSec local API does not delete a decision: {status}: {_words(body)}")
            deleted += status == 200
        return deleted

    def close(self) -> None:
        """Close its connection."""
        self._http.close()

    def _as_machine(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        for fresh in (False, True):
            if fresh or not self._token:
                self._token = self._new_token()
            answer = self._http.ask(method, path, {"Authorization": f"Bearer {self._token}"}, body)
            if answer[0] != 401:
                break
        return answer

    def _new_token(self) -> str:
        status, body = self._http.ask("POST", "/v1/watchers/login", {}, self._login)
        if status in (401, 403):
            raise FleetError(
                "the CrowdSec local API refuses machine_id and password: register it with: cscli machines add NAME"
            )
        try:
            token = json.loads(body)["token"]
        except (ValueError, TypeError, KeyError) as error:
            raise FleetError(f"the CrowdSec local API does not log us in: {status}: {_words(body)}") from error
        return str(token)


def _decision_ids(body: bytes, machine_id: str, value: str) -> list[int]:
    """Return the ids of decisions about a value in alerts of this machine; the list is ``null`` where it is empty."""
    try:
        alerts = json.loads(body) or []
        return [
            int(decision["id"])
            for alert in alerts
            if alert.get("machine_id") == machine_id
            for decision in alert.get("decisions") or []
            if decision.get("value") == value and not str(decision.get("duration", "")).startswith("-")
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FleetError("the CrowdSec local API lists alerts in a form that is not known") from error


def _body(response: BaseHTTPResponse, ends_at: float) -> bytes:
    pieces: list[bytes] = []
    size = 0
    for piece in response.stream(_PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > MOST_BYTES:
            raise FleetError(f"the CrowdSec local API answers with more than {MOST_BYTES // 2**20} MiB")
        if time.monotonic() > ends_at:
            raise FleetError(f"the CrowdSec local API takes longer than {PATIENCE_S:g} s for one answer")
    return b"".join(pieces)


def _words(body: bytes) -> str:
    """Return what an error's body says, short and printable."""
    try:
        said: Any = json.loads(body)
        text = said["message"] if isinstance(said, dict) and isinstance(said.get("message"), str) else "no reason given"
    except ValueError:
        text = "an answer that is not JSON; is this its URL?"
    return clipped(printable(text), 160)


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
        return clipped(printable(f"its certificate is not accepted: {error}"), 160)
    return clipped(printable(type(error).__name__ if not str(error) else str(error)), 160)
