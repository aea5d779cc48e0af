"""Whether anything has stirred since the last tick: a glance that costs a tenth of a tick, taken while calm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from synguard.errors import SynguardError
from synguard.readings import CounterReading

FEW: Final = 8
"""Half-open sockets that a calm host may have at any moment."""
SIGNS: Final = ("SyncookiesSent", "TCPReqQFullDrop", "ListenDrops", "ListenOverflows")
"""Counters that stand still while no queue overflows."""
REFUSED: Final = "OutRsts"
FEW_REFUSED: Final = 10
"""Resets between two glances that say nothing: scanners knock at closed ports all day."""


class Glance:
    """Says between two ticks of a calm host whether one is due: half-open sockets, or counters of full queues.

    What it cannot see, completed connections for one, the tick once a second sees as soon as without it.
    """

    def __init__(
        self,
        half_open: Callable[[], int],
        counters: Callable[[float], CounterReading],
        elsewhere: Callable[[], bool] = lambda: False,
    ) -> None:
        """``elsewhere`` says whether there are namespaces behind this one, at which it cannot glance."""
        self._half_open, self._counters, self._elsewhere = half_open, counters, elsewhere
        self._before: Mapping[str, int] = {}

    def stirred(self, now: float) -> bool:
        """Return whether anything has happened since the last look; a failure to look is something."""
        if self._elsewhere():
            return True
        try:
            values = self._counters(now).values
            many = self._half_open() > FEW
        except SynguardError:
            return True
        before, self._before = self._before, values
        if many or any(values.get(name, 0) != before.get(name, 0) for name in SIGNS):
            return True
        return values.get(REFUSED, 0) - before.get(REFUSED, 0) > FEW_REFUSED
