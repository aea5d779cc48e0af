"""A look at the SYNs of calm times now and then: which headers served clients send is known before an attack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from synguard.errors import SynguardError
from synguard.readings import SynSample
from synguard.sensors.syn_counts import SynCounter, sample_of

EVERY_S: Final = 30.0
LOOK_S: Final = 1.0
"""How long one look counts; it costs the program some hundred nanoseconds a SYN, and this process two reads."""


class HeaderLooks:
    """Has the challenge program count by source for a second of every half minute, while no one else has it count."""

    def __init__(self) -> None:
        self._due_at = float("-inf")
        self._since: float | None = None

    def follow(self, find: Callable[[], SynCounter | None], now: float, *, free: bool) -> SynSample | None:
        """Take in one tick; return the SYNs of a look that has ended, else None.

        The counter is asked for only where a look is due. ``free`` is whether it is calm and no one else counts; a look
        that is disturbed is given up.
        """
        if free and self._since is None and now < self._due_at:
            return None
        counter = find() if free else None
        if counter is None:
            self._since = None
            return None
        try:
            return self._look(counter, now)
        except SynguardError:  # the part that keeps up the program says so; the next look may succeed
            self._since = None
            return None

    def _look(self, counter: SynCounter, now: float) -> SynSample | None:
        if self._since is None:
            self._due_at = now + EVERY_S
            counter.take()
            counter.count(LOOK_S, 1)
            self._since = now
            return None
        if now - self._since < LOOK_S:
            return None
        window_s, self._since = now - self._since, None
        return sample_of(*counter.take(), now, window_s)
