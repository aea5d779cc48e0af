"""What is known of one peer of the fleet: whether it answers, since when, and how much went in and out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from synguard.logs import event
from synguard.plain import some
from synguard.status.model import PeerStatus

log: Final = logging.getLogger(__name__)

MOST_SHOWN: Final = 8
"""Routes that a dry-run names."""


class PeerRecord:
    """Keeps a peer's state, replaced whole, so that any thread may read it.

    Logs when the peer goes away and when it is back, not every try.
    """

    def __init__(self, name: str, place: str) -> None:
        self.state = PeerStatus(name=name, place=place)

    def answered(self, now: datetime, counts: Mapping[str, int], notes: tuple[str, ...] = ()) -> None:
        """Note that the peer answered; ``counts`` are added to those known under other names."""
        before = self.state
        if before.reachable is not True:
            log.info("%s: connected to %s", before.name, before.place, extra=event("fleet", peer=before.name))
        for note in notes:
            if note not in before.notes:
                log.info("%s: %s", before.name, note, extra=event("fleet", peer=before.name))
        since = before.since if before.reachable is True else now
        merged = {**before.counts, **counts}
        self.state = before.model_copy(update={"reachable": True, "since": since, "counts": merged, "notes": notes})

    def would(self, routes: Sequence[str]) -> None:
        """Note which routes would be announced, were this not a dry-run: the first of them, and how many more."""
        notes = (f"dry-run: {len(routes)} routes would be announced", *some(routes, MOST_SHOWN))
        if self.state.notes != notes:
            self.state = self.state.model_copy(update={"notes": notes})

    def failed(self, now: datetime, error: str) -> None:
        """Note that the peer is away or answers nonsense."""
        before = self.state
        if before.reachable is not False or before.error != error:
            log.error("%s: %s", before.name, error, extra=event("fleet", peer=before.name))
        since = before.since if before.reachable is False else now
        self.state = before.model_copy(update={"reachable": False, "since": since, "error": error})
