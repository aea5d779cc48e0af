"""A plain JSON webhook: a stable body, signed if there is a key; no library and no redirects."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import socket
import ssl
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from synguard.clock import rfc3339
from synguard.jsonable import jsonable
from synguard.notify.message import About, AttackFigures, Message
from synguard.plain import clipped, printable

TIMEOUT_S: Final = 8.0
"""For connecting and for each read; the whole delivery has its own deadline."""
VERSION: Final = 1
"""Of the body; it grows only when a key changes its meaning or goes away."""
SIGNATURE: Final = "X-Synguard-Signature"
TIMESTAMP: Final = "X-Synguard-Timestamp"
_LEVELS: Final = {
    About.END: "info",
    About.OVER: "info",
    About.TEST: "info",
    About.REPORT: "info",
    About.START: "warning",
    About.GROWN: "warning",
}
_LATER: Final = {408, 425, 429}


class Refused(Exception):  # noqa: N818  # the word for it
    """The other side did not take the message; ``later`` tells whether it may another time."""

    def __init__(self, answer: str, *, later: bool) -> None:
        super().__init__(answer)
        self.answer = answer
        self.later = later


def body(message: Message, host: str) -> dict[str, Any]:
    """Return the JSON body of a message; docs/alerts.md has its keys."""
    return {
        "synguard": VERSION,
        "event": message.about.value,
        "level": _LEVELS.get(message.about, "warning"),
        "host": host,
        "at": rfc3339(message.at),
        "title": message.title,
        "text": f"{message.title}\n{message.text}",
        "attack": None if message.attack is None else figures_shape(message.attack),
        "states": [{"event": about.value, "text": text} for about, text in message.states],
    }


def figures_shape(figures: AttackFigures) -> dict[str, Any]:
    """Return an attack as JSON."""
    return {**jsonable(figures), "peak_syn_pps": round(figures.peak_syn_pps, 1)}


def signed(data: bytes, key: bytes, timestamp: str) -> str:
    """Return the signature header of a body: HMAC-SHA256 over timestamp, a full stop, and the body."""
    return "sha256=" + hmac.new(key, timestamp.encode() + b"." + data, hashlib.sha256).hexdigest()


def deliver(url: str, message: Mapping[str, Any], key: bytes | None, timestamp: str) -> str:
    """Send the body to a URL; return what the other side answered.

    Raises:
        Refused: It was not taken.
    """
    data = json.dumps(message).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "synguard"}
    if key is not None:
        headers |= {TIMESTAMP: timestamp, SIGNATURE: signed(data, key, timestamp)}
    try:
        status, reason = _post(url, data, headers)
    except ssl.SSLCertVerificationError as error:
        raise Refused(f"its certificate is not trusted: {error.verify_message}", later=False) from error
    except ssl.SSLError as error:
        raise Refused(f"TLS failed: {error.reason or error}", later=True) from error
    except TimeoutError as error:
        raise Refused(f"no answer within {TIMEOUT_S:g} s", later=True) from error
    except socket.gaierror as error:
        raise Refused(f"its name is not known: {error.strerror}", later=True) from error
    except (OSError, http.client.HTTPException) as error:
        raise Refused(
            f"cannot be reached: {getattr(error, 'strerror', None) or type(error).__name__}", later=True
        ) from error
    except ValueError as error:
        raise Refused("its URL cannot be used", later=False) from error
    return _judged(status, clipped(printable(reason), 60))


def _judged(status: int, reason: str) -> str:
    answer = f"HTTP {status} {reason}".strip()
    if 200 <= status < 300:
        return answer
    if 300 <= status < 400:
        raise Refused(f"{answer}: redirects are not followed, give the final URL", later=False)
    raise Refused(answer, later=status >= 500 or status in _LATER)


def _post(url: str, data: bytes, headers: dict[str, str]) -> tuple[int, str]:
    parts = urlsplit(url)
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = {**headers, "Authorization": f"Basic {b64encode(login.encode()).decode()}"}
    path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    connection: http.client.HTTPConnection
    if parts.scheme.lower() == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", path, data, headers)
        response = connection.getresponse()
        return response.status, response.reason
    finally:
        connection.close()
