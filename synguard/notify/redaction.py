"""How URLs are shown: without anything that may be secret."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote, urlsplit

from synguard.plain import clipped, printable

_SHOWS_HOST: Final = {"http", "https", "json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos"}
"""Schemes whose host is a host; in others a token may stand there."""
_SECRET_LEAST: Final = 4
"""Characters from which a part of a URL is taken for a secret; shorter ones are words of every text."""


def is_webhook(url: str) -> bool:
    """Return whether a URL is sent JSON as it stands in docs/alerts.md, without a library."""
    return url.lower().startswith(("http://", "https://"))


def masked(url: str) -> str:
    """Return a URL without anything that may be secret: its scheme, and its host where that is one."""
    scheme = clipped(printable(url.partition("://")[0]), 20).lower()
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return f"{scheme}://…"
    if scheme not in _SHOWS_HOST or not host:
        return f"{scheme}://…"
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{clipped(printable(shown), 80)}{'' if port is None else f':{port}'}/…"


def scrubbed(text: str, url: str) -> str:
    """Return somebody's words without any part of the URL but its scheme and what ``masked`` shows."""
    shown = masked(url)
    for part in sorted(_parts(url), key=len, reverse=True):
        if part not in shown:
            text = text.replace(part, "…")
    return clipped(printable(text), 200)


def _parts(url: str) -> set[str]:
    """Return the URL and its parts, as written and as decoded, but for its scheme."""
    found = {url.partition("://")[2]}
    for separator in "/?&=#@:,":
        found |= {piece for part in tuple(found) for piece in part.split(separator)}
    found |= {unquote(part) for part in found}
    return {part for part in found if len(part) >= _SECRET_LEAST} | {url}
