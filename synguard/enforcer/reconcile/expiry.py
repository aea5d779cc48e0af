"""Which bans end when, by the second: 100,000 that end at one moment are one entry to look at, not 100,000."""

from __future__ import annotations

import heapq
from datetime import UTC, datetime
from typing import Final

NEVER: Final = datetime.max.replace(tzinfo=UTC)


class ExpiryQueue:
    """Moments and the ids that end at them; what was lifted or moved since is still told, when its time has come."""

    def __init__(self) -> None:
        self._by_second: dict[int, list[tuple[datetime, str]]] = {}
        self._seconds: list[int] = []
        """A heap of the keys."""
        self._next: datetime | None = NEVER
        """None where it has to be found again."""

    def put(self, expires_at: datetime, ban_id: str) -> None:
        """Note that a ban ends then."""
        second = int(expires_at.timestamp())
        some = self._by_second.get(second)
        if some is None:
            some = self._by_second[second] = []
            heapq.heappush(self._seconds, second)
        some.append((expires_at, ban_id))
        if self._next is not None and expires_at < self._next:
            self._next = expires_at

    @property
    def next(self) -> datetime:
        """The first moment; far in the future if there is none."""
        if self._next is None:
            self._next = min(self._by_second[self._seconds[0]])[0] if self._seconds else NEVER
        return self._next

    def due(self, now: datetime, at_most: int | None = None) -> list[tuple[datetime, str]]:
        """Return up to ``at_most`` (moment, id) of what has ended at ``now``, each once."""
        due: list[tuple[datetime, str]] = []
        while self.next <= now and (at_most is None or len(due) < at_most):
            second = heapq.heappop(self._seconds)
            some = self._by_second.pop(second)
            ended = [one for one in some if one[0] <= now]
            room = len(ended) if at_most is None else at_most - len(due)
            due += ended[:room]
            left = ended[room:] + [one for one in some if one[0] > now]
            if left:
                self._by_second[second] = left
                heapq.heappush(self._seconds, second)
            self._next = None
        return due
