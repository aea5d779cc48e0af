"""The history of pressure, as the agent lives it: each tick is added up, each stretch is written down later."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from synguard.agent.tick import Tick
from synguard.errors import LedgerError
from synguard.incidents import Phase
from synguard.ledger import Figure, Ledger, Stretch, Track
from synguard.logs import event
from synguard.model import Signal

log: Final = logging.getLogger(__name__)

CALM_S: Final = 10.0
ATTACK_S: Final = 1.0
"""How long one stretch of history is, by the phase."""
WRITE_EVERY_S: Final = 5.0
KEPT: Final = 600
"""Stretches that wait for a ledger which takes none: ten minutes of attack, then the oldest go."""
ALIVE_S: Final = 15.0
"""A pause between two ticks longer than this is no watching: the host slept, or the agent hung."""
TOLD_AFTER: Final = 3
"""Failures in a row before it is reported: one writer in the way of another is nothing to speak of."""
CLOCK_S: Final = 1.0
"""By how much the time of day may drift from the monotonic clock within one stretch; more is a clock that was set."""


WINDOW_S: Final = 0.95
"""A second, give or take a tick."""

_COUNTED: Final = frozenset(
    {Figure.COMPLETED, Figure.COOKIES_SENT, Figure.COOKIES_BACK, Figure.DROPPED, Figure.REFUSED}
)
"""Rates from the kernel's counters: between two ticks of 50 ms they jump."""


class _Sum:
    """One figure over the present stretch."""

    __slots__ = ("least", "most", "seconds", "total")

    def __init__(self) -> None:
        self.seconds = self.total = 0.0
        self.least, self.most = float("inf"), float("-inf")

    def add(self, value: float, seconds: float) -> None:
        self.seconds += seconds
        self.total += value * seconds
        self.least, self.most = min(self.least, value), max(self.most, value)

    def ends(self) -> None:
        """Settle what is open at the end of the stretch."""


class _Rate(_Sum):
    """A rate: its least and most are those of whole seconds, for what a tick counts is rough."""

    __slots__ = ("_window_s", "_window_total")

    def __init__(self) -> None:
        super().__init__()
        self._window_s = self._window_total = 0.0

    def add(self, value: float, seconds: float) -> None:
        self.seconds += seconds
        self.total += value * seconds
        self._window_s += seconds
        self._window_total += value * seconds
        if self._window_s >= WINDOW_S:
            self._close()

    def ends(self) -> None:
        if self.least > self.most or self._window_s >= WINDOW_S / 2:
            self._close()

    def _close(self) -> None:
        if self._window_s > 0:
            value = self._window_total / self._window_s
            self.least, self.most = min(self.least, value), max(self.most, value)
        self._window_s = self._window_total = 0.0


class _Under:
    """The stretch under way."""

    def __init__(self, began: float, at: datetime) -> None:
        self.began, self.at = began, at
        self.ended = began
        self._watched = self._censored = self._fill = 0.0
        self._sums: dict[Figure, _Sum] = {}

    def add(self, tick: Tick, now: float) -> None:
        """Add what was seen since the last tick."""
        seconds, self.ended = now - self.ended, now
        pressure = tick.assessment.pressure if "half_open" not in tick.blind else ()
        self._watched += seconds
        self._censored += seconds if any(listener.censored for listener in pressure) else 0.0
        self._fill = max(self._fill, max((listener.fill for listener in pressure), default=0.0))
        for figure, value, known_s in _figures(tick, seconds):
            if figure not in self._sums:
                self._sums[figure] = _Rate() if figure in _COUNTED else _Sum()
            self._sums[figure].add(value, known_s)

    def strayed(self, now: float, utc: datetime) -> bool:
        """Return whether the time of day was set since it began."""
        expected = self.at + timedelta(seconds=now - self.began)
        return abs((utc - expected).total_seconds()) > CLOCK_S

    def made(self) -> Stretch:
        """Return it as it is kept."""
        for one in self._sums.values():
            one.ends()
        tracks = {
            figure: Track(round(one.seconds, 3), round(one.total, 3), round(one.least, 3), round(one.most, 3))
            for figure, one in self._sums.items()
        }
        span = self.ended - self.began
        return Stretch(
            self.at, round(span, 3), round(self._watched, 3), round(self._censored, 3), round(self._fill, 3), tracks
        )


def _figures(tick: Tick, seconds: float) -> Iterator[tuple[Figure, float, float]]:
    """Yield (figure, value, seconds it was known) of what sensors could read."""
    flood, sampled_s = tick.assessment.flood, tick.assessment.elapsed.get(Signal.SYN_RATE)
    if "half_open" not in tick.blind:
        yield Figure.HALF_OPEN, flood.half_open, seconds
    if "connections" not in tick.blind:
        yield Figure.CONNECTIONS, flood.connections, seconds
    if sampled_s is not None:
        yield Figure.SYNS, flood.syn_pps, min(sampled_s, seconds)
    if "counters" not in tick.blind:
        yield Figure.COMPLETED, flood.completed_pps, seconds
        yield Figure.COOKIES_SENT, flood.cookies_sent_pps, seconds
        yield Figure.COOKIES_BACK, flood.cookies_received_pps, seconds
        yield Figure.DROPPED, flood.dropped_pps, seconds
        yield Figure.REFUSED, flood.accept_overflows_pps, seconds


class History:
    """Looks on at every tick, and gives the ledger what it saw about every five seconds; waits for no one.

    A ledger that fails loses history and nothing else. A restart leaves a gap of some seconds, reported as one.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._under: _Under | None = None
        self._made: deque[Stretch] = deque(maxlen=KEPT)
        self._write_at = float("-inf")
        self._failed = 0

    def observe(self, tick: Tick, now: float, utc: datetime) -> None:
        """Take in one tick; neither waits nor raises."""
        under = self._under
        if under is not None and (now - under.ended > ALIVE_S or now < under.ended or under.strayed(now, utc)):
            self._finish()
            under = None
        if under is None:
            under = self._under = _Under(now, utc)
            return
        under.add(tick, now)
        calm = tick.decision.phase is Phase.CALM
        if now - under.began >= (CALM_S if calm else ATTACK_S):
            self._finish()
            self._under = _Under(now, utc)
        if self._made and now >= self._write_at:
            self._write_at = now + WRITE_EVERY_S
            self._write()

    def close(self) -> None:
        """Write what is left."""
        self._finish()
        self._under = None
        if self._made:
            self._write()

    def _finish(self) -> None:
        if self._under is not None and self._under.ended > self._under.began:
            self._made.append(self._under.made())

    def _write(self) -> None:
        try:
            self._ledger.add_history(tuple(self._made))
        except LedgerError as error:
            self._failed += 1
            if self._failed == TOLD_AFTER:
                log.error("the history of pressure is not kept for now: %s", error, extra=event("history"))
            return
        if self._failed >= TOLD_AFTER:
            log.info("the history of pressure is kept again", extra=event("history"))
        self._failed = 0
        self._made.clear()
