"""CrowdSec's local API (LAPI): decisions with an API key, alerts as a machine."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit

from synguard.addresses import Network, host_network, parse_address
from synguard.errors import FleetError
from synguard.fleet.http import HttpPeer

MOST_WITHDRAWN: Final = 100
"""Decisions of ours about one target that one unban deletes."""
_SCENARIOS: Final = ("synguard/connection-flood", "synguard/syn-flood", "synguard/spoofed-source-flood")


class DecisionSource:
    """Decisions of a local API, read as what CrowdSec calls a bouncer: with an API key of this host's own."""

    def __init__(self, url: str, api_key: str, ca_file: Path | None = None) -> None:
        self._http = HttpPeer(url, ca_file, secrets=(api_key,))
        self._host = urlsplit(url).hostname or ""
        self._headers = {"X-Api-Key": api_key}

    def addresses(self) -> frozenset[Network]:
        """Return where the local API is, which no decision of its own may ban; none where its name is not found."""
        try:
            found = socket.getaddrinfo(self._host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return frozenset()
        return frozenset(host_network(parse_address(str(address[0]))) for *_, address in found)

    def stream(self, *, complete: bool) -> bytes:
        """Return the answer of the decision stream: all of it, or what changed since this key last asked.

        Raises:
            FleetError: The local API is away, refuses the key, or answers with an error.
        """
        query = urlencode({"startup": "true" if complete else "false", "scopes": "Ip,Range"})
        return self._ask(f"/v1/decisions/stream?{query}")

    def check(self) -> None:
        """Return if the key is accepted; the stream of an agent with the same key goes on undisturbed.

        Raises:
            FleetError: As for ``stream``.
        """
        self._ask("/v1/decisions?ip=192.0.2.1")

    def _ask(self, path: str) -> bytes:
        status, body = self._http.ask("GET", path, self._headers)
        if status in (401, 403):
            raise FleetError("the CrowdSec local API refuses the API key: make one with: cscli bouncers add NAME")
        if status != 200:
            raise self._http.refused(f"answers {status}", body)
        return body

    def close(self) -> None:
        """Close its connection."""
        self._http.close()


class AlertSink:
    """Alerts for a local API, sent as what CrowdSec calls a machine; it logs in again when its token has ended."""

    def __init__(self, url: str, machine_id: str, password: str, ca_file: Path | None = None) -> None:
        self._http = HttpPeer(url, ca_file, secrets=(password,))
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
            raise self._http.refused(f"does not take alerts: {status}", body)

    def withdraw(self, value: str, scenario: str) -> int:
        """Delete the decisions about ``value`` that this machine's alerts of a scenario brought; return how many.

        Raises:
            FleetError: The local API is away, or refuses.
        """
        query = urlencode({"range" if "/" in value else "ip": value, "scenario": scenario, "limit": MOST_WITHDRAWN})
        status, body = self._as_machine("GET", f"/v1/alerts?{query}")
        if status != 200:
            raise self._http.refused(f"does not list our alerts: {status}", body)
        deleted = 0
        for decision in _decision_ids(body, self._machine_id, value)[:MOST_WITHDRAWN]:
            status, body = self._as_machine("DELETE", f"/v1/decisions/{decision}")
            if status not in (200, 404):
                raise self._http.refused(f"does not delete a decision: {status}", body)
            deleted += status == 200
        return deleted

    def check(self) -> None:
        """Return if the machine may log in.

        Raises:
            FleetError: It may not, or there is no answer.
        """
        self._new_token()

    def close(self) -> None:
        """Close its connection."""
        self._http.close()

    def _as_machine(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        for fresh in (False, True):
            if fresh or not self._token:
                self._token = self._new_token()
                self._http.secrets[1:] = [self._token]
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
            raise self._http.refused(f"does not log us in: {status}", body) from error
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
