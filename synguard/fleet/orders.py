"""Blackholes that a person ordered, kept in ``state_dir`` until their end; agent and verbs read the same file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from synguard.addresses import Network, parse_network
from synguard.errors import SynguardError
from synguard.fleet.routes import Route
from synguard.private import NotOursError, read_private, replace_private

ORDERS: Final = "blackholes.json"
MOST_BYTES: Final = 64 * 1024
MOST: Final = 64
"""Blackholes that may stand at once."""


class Blackholes:
    """The orders of one state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / ORDERS
        self._seen: tuple[int, int] | None = None
        self._known: dict[Network, datetime] = {}

    def active(self, now: datetime) -> dict[Network, datetime]:
        """Return destination → end of those that stand; the file is read again only where it has changed.

        Raises:
            SynguardError: The file cannot be read.
        """
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._known, self._seen = {}, None
            return {}
        except OSError as error:
            raise SynguardError(f"{self._path} cannot be read: {error.strerror}") from error
        if (seen := (found.st_mtime_ns, found.st_ino)) != self._seen:
            self._known, self._seen = self._read(), seen
        return {target: ends_at for target, ends_at in self._known.items() if ends_at > now}

    def order(self, destination: Network, ends_at: datetime, now: datetime) -> None:
        """Let a blackhole stand until then; one that stands gets this end.

        Raises:
            SynguardError: The file cannot be written, or too many stand.
        """
        active = {**self.active(now), destination: ends_at}
        if len(active) > MOST:
            raise SynguardError(f"{MOST} blackholes are active already: end one first with synguard upstream release")
        self._write(active)

    def release(self, destination: Network, now: datetime) -> bool:
        """End a blackhole; return whether one stood."""
        active = self.active(now)
        found = active.pop(destination, None) is not None
        if found:
            self._write(active)
        return found

    def _read(self) -> dict[Network, datetime]:
        try:
            items = json.loads(read_private(self._path, MOST_BYTES))
            return {parse_network(target): datetime.fromisoformat(ends_at) for target, ends_at in items.items()}
        except NotOursError as error:
            raise SynguardError(f"{self._path} cannot be read: {error.strerror}") from error
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise SynguardError(f"{self._path} cannot be read as orders: remove it and order again") from error

    def _write(self, active: Mapping[Network, datetime]) -> None:
        text = json.dumps({str(target): ends_at.isoformat() for target, ends_at in active.items()})
        try:
            replace_private(self._path, text)
        except OSError as error:
            raise SynguardError(f"{self._path} cannot be written: {error.strerror}") from error


def routes_of(active: Mapping[Network, datetime], next_hop: str) -> dict[Route, datetime]:
    """Return the routes of blackholes; none where no next hop is configured."""
    return {Route(None, target, next_hop=next_hop): ends_at for target, ends_at in active.items() if next_hop}
