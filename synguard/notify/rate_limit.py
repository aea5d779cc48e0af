"""How many messages an hour may see: a hard bound, with room for the end of a reported attack and for larger ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

WINDOW_S: Final = 3600.0


class RateLimit:
    """Counts messages in any hour; ``now`` is monotonic, in seconds."""

    def __init__(self, per_hour: int, sent: Iterable[float] = (), *, set_aside: bool = False) -> None:
        self._per_hour = per_hour
        self._sent = deque(sorted(sent), maxlen=per_hour)
        self.set_aside = set_aside
        """Whether one message is kept back for the end of an attack whose start was reported."""

    def may(self, now: float, count: int = 1, *, larger: bool = False) -> bool:
        """Return whether ``count`` more messages would stay within the bound, now and with what is set aside.

        A quarter of the bound is kept for what is ``larger`` by far than all that was reported: small attacks, which
        cost little, must not spend it.
        """
        kept_back = 0 if larger else self._per_hour // 4
        return self._used(now) + count + self.set_aside + kept_back <= self._per_hour

    def spend(self, now: float) -> None:
        """Count one message."""
        self._sent.append(now)

    def sent(self, now: float) -> tuple[float, ...]:
        """Return when the messages of the last hour were sent, oldest first."""
        self._used(now)
        return tuple(self._sent)

    def _used(self, now: float) -> int:
        while self._sent and now - self._sent[0] >= WINDOW_S:
            self._sent.popleft()
        return len(self._sent)
