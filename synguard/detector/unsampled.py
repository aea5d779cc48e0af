"""SYNs that the kernel turns away and no sensor shows: in fragments, or behind headers that it does not walk."""

from __future__ import annotations

from typing import Final

from synguard.detector.rates import dropped_rate, rate
from synguard.readings import CounterReading, SynSample

TIMES: Final = 2.0
"""A sensor is blind where the kernel turns away so many times the SYNs that it shows …"""
LEAST_PPS: Final = 200.0
"""… and so many a second more: fewer may be loopback's, which are not sampled."""
JUDGED_OVER_S: Final = 0.5
COVERED: Final = 0.8
"""Share of that time that samples must cover."""


class UnsampledWindow:
    """Compares what was sampled with what the kernel dropped, or answered with a cookie that did not come back."""

    def __init__(self) -> None:
        self._since: CounterReading | None = None
        self._syns = self._covered_s = self._pps = 0.0

    def follow(self, counters: CounterReading | None, sample: SynSample | None) -> float:
        """Take in one tick; return the SYNs a second that have not been seen, judged twice a second."""
        if sample is not None:
            self._syns += sample.kept * sample.one_in
            self._covered_s += sample.window_s
        if counters is None:
            return self._pps
        passed = 0.0 if self._since is None else counters.at - self._since.at
        if self._since is None or passed >= JUDGED_OVER_S:
            self._pps = self._judge(self._since, counters, passed)
            self._since, self._syns, self._covered_s = counters, 0.0, 0.0
        return self._pps

    def _judge(self, before: CounterReading | None, after: CounterReading, passed: float) -> float:
        if self._covered_s < COVERED * passed or not passed:
            return 0.0
        unanswered = max(rate(before, after, ["SyncookiesSent"]) - rate(before, after, ["SyncookiesRecv"]), 0.0)
        turned_away, shown = unanswered + dropped_rate(before, after), self._syns / passed
        return turned_away - shown if turned_away > TIMES * shown + LEAST_PPS else 0.0
