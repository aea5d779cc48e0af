"""Which bans end when, by the second: 100,000 that end at one moment are one entry to look at, not 100,000."""

from __future__ import annotations

import heapq
from array import array
from datetime import UTC, datetime, timedelta
from typing import Final

NEVER: Final = datetime.max.replace(tzinfo=UTC)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND: Final = 1_000_000


class _Second:
    """What ends within one second, as columns: 16 bytes for each."""

    __slots__ = ("ids", "moments")

    def __init__(self) -> None:
        self.moments = array("q")
        """Microseconds since 1970."""
        self.ids: list[str] = []


class ExpiryQueue:
    """Moments and the ids that end at them; what was unbanned or moved since is still told, when its time has come."""

    def __init__(self) -> None:
        self._by_second: dict[int, _Second] = {}
        self._seconds: list[int] = []
        """A heap of the keys."""
        self._next: datetime | None = NEVER
        """None where it has to be found again."""

    def put(self, expires_at: datetime, ban_id: str) -> None:
        """Note that a ban ends then."""
        self._put((expires_at - _EPOCH) // _MICROSECOND, ban_id)
        if self._next is not None and expires_at < self._next:
            self._next = expires_at

    def _put(self, moment: int, ban_id: str) -> None:
        second = moment // _SECOND
        some = self._by_second.get(second)
        if some is None:
            some = self._by_second[second] = _Second()
            heapq.heappush(self._seconds, second)
        some.moments.append(moment)
        some.ids.append(ban_id)

    @property
    def next(self) -> datetime:
        """The first moment; far in the future if there is none."""
        if self._next is None:
            self._next = _time(min(self._by_second[self._seconds[0]].moments)) if self._seconds else NEVER
        return self._next

    def due(self, now: datetime, at_most: int | None = None) -> list[tuple[datetime, str]]:
        """Return up to ``at_most`` (moment, id) of what has ended at ``now``, each once."""
        due: list[tuple[datetime, str]] = []
        now_us = (now - _EPOCH) // _MICROSECOND
        while self.next <= now and (at_most is None or len(due) < at_most):
            second = self._seconds[0]
            some = self._by_second[second]
            if second < now_us // _SECOND or max(some.moments) <= now_us:  # all of it has ended: taken in slices
                room = len(some.ids) if at_most is None else at_most - len(due)
                due += zip(map(_time, some.moments[:room]), some.ids[:room], strict=True)
                del some.moments[:room], some.ids[:room]
                if not some.ids:
                    del self._by_second[heapq.heappop(self._seconds)]
            else:
                del self._by_second[heapq.heappop(self._seconds)]
                for moment, ban_id in zip(some.moments, some.ids, strict=True):
                    if moment <= now_us and (at_most is None or len(due) < at_most):
                        due.append((_time(moment), ban_id))
                    else:
                        self._put(moment, ban_id)
            self._next = None
        return due


def _time(moment: int) -> datetime:
    return _EPOCH + timedelta(microseconds=moment)
