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


class Glance:
    """Says between two ticks of a calm host whether one is due: half-open sockets, or counters of full queues.

    While no segment arrives there is nothing to see: that is one small file. What it cannot see, completed connections
    for one, the tick once a second sees as soon as without it.
    """

    def __init__(
        self,
        half_open: Callable[[], int],
        counters: Callable[[float], CounterReading],
        elsewhere: Callable[[], bool] = lambda: False,
        segments: Callable[[float], CounterReading] | None = None,
    ) -> None:
        """``elsewhere`` says whether anything has come into the namespaces behind this one since it was asked.

        ``segments`` reads fewer counters than ``counters``, those that tell whether segments arrived.
        """
        self._half_open, self._counters, self._elsewhere = half_open, counters, elsewhere
        self._segments = segments or counters
        self._before: Mapping[str, int] = {}
        self._arrived: int | None = None
        self._most_half_open: float = inf
        """How many sockets may be half-open: those counted last, and every segment since."""

    def stirred(self, now: float) -> bool:
        """Return whether anything has happened since the last look; a failure to look is something."""
        if self._elsewhere():
            return True
        try:
            arrived = self._segments(now).values.get(ARRIVED)
            if arrived is not None and arrived == self._arrived and self._most_half_open <= FEW:
                return False
            values = self._counters(now).values
            many = self._are_many(arrived)
        except SynguardError:
            return True
        before, self._before = self._before, values
        if many or any(values.get(name, 0) != before.get(name, 0) for name in SIGNS):
            return True
        return values.get(REFUSED, 0) - before.get(REFUSED, 0) > FEW_REFUSED

    def _are_many(self, arrived: int | None) -> bool:
        """Return whether more than ``FEW`` are half-open; they are counted only where so many can have come."""
        before, self._arrived = self._arrived, arrived
        self._most_half_open += inf if arrived is None or before is None else max(arrived - before, 0)
        if self._most_half_open > FEW:
            self._most_half_open = self._half_open()
        return self._most_half_open > FEW
