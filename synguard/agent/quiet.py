"""Whether anything has stirred since the last tick: a glance that costs a tenth of a tick, taken while calm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Final

from synguard.errors import SynguardError
from synguard.readings import CounterReading
from synguard.sensors.counters import ARRIVED

FEW: Final = 8
"""Half-open sockets that a calm host may have at any moment."""
SIGNS: Final = ("SyncookiesSent", "TCPReqQFullDrop", "ListenDrops", "ListenOverflows")
"""Counters that stand still while no queue overflows."""
REFUSED: Final = "OutRsts"
FEW_REFUSED: Final = 10
"""Resets between two glances that say nothing: scanners knock at closed ports all day."""
ACKNOWLEDGED: Final = ("TCPPureAcks", "TCPHPAcks")
"""Counters of segments that acknowledge something; no segment is counted by both, and no SYN by either."""
PER_CONNECTION: Final = 3
"""What a completed connection takes off: the socket that is half-open no more, and its request and FIN, which are no
SYNs though no counter tells."""


class Glance:
    """Says between two ticks of a calm host whether one is due: half-open sockets, or counters of full queues.

    While no segment arrives there is nothing to see: that is one small file. Sockets are counted, at the cost of a walk
    of the kernel's whole hash, only where more may be half-open than ``FEW``: every segment that came may be a SYN but
    those that acknowledge and those of connections completed meanwhile. What it cannot see, completed connections for
    one, or less than two SYNs for each of them, the tick once a second sees as soon as without it.
    """

    def __init__(
        self,
        half_open: Callable[[], int],
        counters: Callable[[float], CounterReading],
        elsewhere: Callable[[], bool] = lambda: False,
        segments: Callable[[], Mapping[str, int]] | None = None,
    ) -> None:
        """``elsewhere`` says whether anything has come into the namespaces behind this one since it was asked.

        ``segments`` reads fewer counters than ``counters``, those that tell whether segments arrived.
        """
        self._half_open, self._counters, self._elsewhere = half_open, counters, elsewhere
        self._segments = segments
        self._before: Mapping[str, int] = {}
        self._arrived: int | None = None
        self._most_half_open: float = inf
        """How many sockets may be half-open: those counted last, and every SYN since."""

    def stirred(self, now: float) -> bool:
        """Return whether anything has happened since the last look; a failure to look is something."""
        if self._elsewhere():
            return True
        before = self._before
        try:
            arrived = self._segments().get(ARRIVED) if self._segments else None
            if arrived is not None and arrived == self._arrived and self._most_half_open <= FEW:
                return False
            values = self._counters(now).values
            self._most_half_open = max(self._most_half_open + _syns_at_most(values, before), 0)
            if self._most_half_open > FEW:
                self._most_half_open = self._half_open()
        except SynguardError:
            return True
        self._before, self._arrived = values, arrived
        if self._most_half_open > FEW or any(values.get(name, 0) != before.get(name, 0) for name in SIGNS):
            return True
        return values.get(REFUSED, 0) - before.get(REFUSED, 0) > FEW_REFUSED


def _syns_at_most(values: Mapping[str, int], before: Mapping[str, int]) -> float:
    """Return by how much half-open sockets have become more at most; below 0 where connections were completed."""
    if ARRIVED not in values or ARRIVED not in before:
        return inf
    came, acknowledged, completed, by_cookie = (
        sum(values.get(name, 0) - before.get(name, 0) for name in names)
        for names in ((ARRIVED,), ACKNOWLEDGED, ("PassiveOpens",), ("SyncookiesRecv",))
    )
    return came - acknowledged - PER_CONNECTION * (completed - by_cookie)
