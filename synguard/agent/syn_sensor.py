"""How SYNs are read: counted by the challenge program where it runs, else sampled from the wire."""

from __future__ import annotations

import logging
from typing import Final, Protocol

from synguard.detector.unsampled import JUDGED_OVER_S
from synguard.errors import SensorError
from synguard.logs import event
from synguard.readings import SynSample
from synguard.sensors.syn_counts import CountedSyns

log: Final = logging.getLogger(__name__)

ALERT_S: Final = 0.5
"""How long SYNs go on being counted after the program has seen them become many, though nothing suffers yet."""
COUNT_AGAIN_S: Final = 60.0
"""How long the sampler has its turn after the program could not be read."""
UNJUDGED_S: Final = 3 * JUDGED_OVER_S
"""How long it is not judged then: what was not seen before does not count against it."""


class SynSensor(Protocol):
    """What the agent needs of ``sensors.syn_sampler.SynSampler``, and of ``sensors.syn_counts.CountedSyns``."""

    @property
    def running(self) -> bool:
        """Whether SYNs are being sampled."""

    @property
    def counting(self) -> bool:
        """Whether all of them are counted rather than sampled."""

    def open(self, now: float) -> None:
        """Begin to sample."""

    def read(self, now: float, ports: frozenset[int]) -> SynSample | None:
        """Return the SYNs to these ports since the last read; None where that has only begun anew."""

    def close(self) -> None:
        """End sampling and free everything."""


def how_sampled(syns: SynSensor, one_in: int) -> str:
    """Return in a word or two what a sensor does, for the status."""
    if not syns.running:
        return "resting"
    return "counting" if syns.counting and one_in == 1 else f"sampling 1 in {one_in}"


class CountedOrSampled:
    """The counts of the challenge program while they can be had, sampled SYNs otherwise; never both at once."""

    def __init__(self, sampler: SynSensor, counts: CountedSyns) -> None:
        self._sampler, self._counts = sampler, counts
        self.fell_back_at = float("-inf")
        self._gone = False
        """Whether the program was away since the sampler took over: once back, it counts again without delay."""
        self._told = ""

    @property
    def running(self) -> bool:
        """Whether either is open."""
        return self._counts.running or self._sampler.running

    @property
    def counting(self) -> bool:
        """Whether the program counts."""
        return self._counts.running

    def open(self, now: float) -> None:
        """Begin with the better one; no effect while one is open.

        Raises:
            SensorError: Neither works; the text is the sampler's.
        """
        if self.running:
            return
        ready = self._counts.ready
        if ready and (self._gone or now >= self.fell_back_at + COUNT_AGAIN_S):
            self._gone = False
            try:
                self._counts.open(now)
                return
            except SensorError as error:
                self.fall_back(str(error), now)
        self._sampler.open(now)

    def read(self, now: float, ports: frozenset[int]) -> SynSample | None:
        """Return the SYNs to these ports since the last read; None where the other one takes over just now.

        Raises:
            SensorError: Neither works; the text is the sampler's.
        """
        if not self._counts.running:
            ready = self._counts.ready
            if not (ready and self._gone):
                self._gone = not ready
                return self._sampler.read(now, ports)
            self._sampler.close()  # which no challenged SYN reaches
            self.open(now)
            return None
        try:
            sample = self._counts.read(now, ports)
        except SensorError as error:
            self.fall_back(str(error), now)
            self._sampler.open(now)
            return None
        self._told = ""
        return sample

    def close(self) -> None:
        """End both."""
        self._counts.close()
        self._sampler.close()

    def fall_back(self, why: str, now: float) -> None:
        """Count no more; the sampler has its turn from the next ``open`` or ``read`` on."""
        self._counts.close()
        self.fell_back_at, self._gone = now, not self._counts.ready
        if not self._told:
            log.warning("SYNs are sampled, not counted: %s", why, extra=event("sensor", sensor="syn_counts", ok=False))
        self._told = why


def blind_to(syns: SynSensor, unsampled_pps: float, now: float) -> float:
    """Return the SYNs a second that are not seen; 0 where the program does not see them and the sampler may."""
    if not unsampled_pps or not isinstance(syns, CountedOrSampled):
        return unsampled_pps
    if syns.counting:
        syns.fall_back(f"{unsampled_pps:,.0f} SYNs a second were turned away that did not pass by the program", now)
    return unsampled_pps if now >= syns.fell_back_at + UNJUDGED_S else 0.0
