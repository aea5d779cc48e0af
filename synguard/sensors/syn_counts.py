"""SYNs as the challenge program counts them, each source and port a row: what the sampler tells, for less."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar, Final, Protocol

import numpy as np
import numpy.typing as npt

from synguard.errors import SensorError, SynguardError
from synguard.readings import BANNED_ONE_IN, EVERY_PORT, SynSample
from synguard.sensors.port_mask import port_mask
from synguard.sensors.syn_sampler import OneIn

COUNTED_FOR_S: Final = 5.0
"""How long the program counts by source without being asked again."""
ASK_EVERY_S: Final = 1.0
CROWDED: Final = 32_768
"""Rows in one reading from which some may have been pushed out of the program's map, which holds twice as many."""

Records = npt.NDArray[Any]


class SynCounter(Protocol):
    """What is needed of ``enforcer.challenge.counts.SynCounts``."""

    def count(self, seconds: float, one_in: int) -> None:
        """Count SYNs by source from now on for so long, one in so many."""

    def take(self) -> tuple[Records, Records]:
        """Return and remove what was counted: records of ``address`` and ``port``, and of what was seen of each."""

    def total(self) -> int:
        """Return how many SYNs have arrived so far."""


class CountedSyns:
    """SYNs that the program has counted since the last read, one in one while the sources are few.

    ``one_in`` follows the number of sources, not of SYNs: a loud source is one row. Seen is what arrives at the
    interfaces of the program; what it does not take for a SYN, with IP options for one, is not.
    """

    counting: ClassVar[bool] = True

    def __init__(
        self,
        counter: Callable[[], SynCounter | None],
        kept_per_second: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find, self._kept_per_second = counter, kept_per_second
        self._monotonic = monotonic
        self._counter: SynCounter | None = None
        self._one_in = OneIn(kept_per_second)
        self._since = self._asked_at = 0.0
        self._arrived = 0

    @property
    def ready(self) -> bool:
        """Whether there is a program to ask."""
        return self._find() is not None

    @property
    def running(self) -> bool:
        """Whether it counts by source."""
        return self._counter is not None

    def open(self, now: float) -> None:
        """Begin to count by source; no effect while it does.

        Raises:
            SensorError: There is no program, or its maps cannot be used.
        """
        if self._counter is not None:
            return
        counter = self._find()
        if counter is None:
            raise SensorError("the challenge program does not run at every interface")
        try:
            counter.take()
            counter.count(COUNTED_FOR_S, 1)
            self._since = self._asked_at = self._monotonic()
            self._arrived = counter.total()
        except SynguardError as error:
            raise SensorError(f"SYNs cannot be counted: {error}") from error
        self._counter, self._one_in = counter, OneIn(self._kept_per_second)

    def read(self, now: float, ports: frozenset[int]) -> SynSample:
        """Return the SYNs to ``ports`` since the last read; ``window_s`` is measured at the program, not by ``now``.

        Raises:
            SensorError: Not open, the program is gone, or its maps cannot be read; it is closed then.
        """
        counter, one_in = self._counter, self._one_in.value
        if counter is None or self._find() is not counter:
            self._counter = None
            raise SensorError("the challenge program does not run at every interface")
        try:
            sources, seen = counter.take()
            at = self._monotonic()
            before, self._arrived = self._arrived, counter.total()
            pushed_out = self._arrived - before - int(seen["syns"].sum()) if len(sources) >= CROWDED else 0
            if self._one_in.follow(len(sources), at - self._since) or at - self._asked_at >= ASK_EVERY_S:
                counter.count(COUNTED_FOR_S, self._one_in.value)
                self._asked_at = at
        except SynguardError as error:
            self.close()
            raise SensorError(f"SYNs cannot be counted: {error}") from error
        window_s, self._since = at - self._since, at
        if ports is not EVERY_PORT:
            mine = port_mask(ports)[sources["port"]]
            sources, seen = sources[mine], seen[mine]
        return sample_of(sources, seen, now, window_s, one_in, max(pushed_out, 0) // one_in)

    def close(self) -> None:
        """Count by source no more; ports go on being counted. No effect while closed."""
        counter, self._counter = self._counter, None
        if counter is not None and self._find() is counter:
            try:
                counter.count(0.0, 1)
            except SynguardError:
                return  # it ends by itself


def sample_of(
    sources: Records, seen: Records, now: float, window_s: float, one_in: int = 1, lost: int = 0
) -> SynSample:
    """Return what the program counted by source as SYNs with their whole headers, each source and port a row."""
    words = np.ascontiguousarray(sources["address"]).view(">u8").astype(np.uint64).reshape(-1, 2)
    count = np.maximum(np.rint(seen["syns"] / one_in), 1)
    return SynSample(
        at=now,
        window_s=window_s,
        one_in=one_in,
        source_high=words[:, 0],
        source_low=words[:, 1],
        local_port=sources["port"].astype(np.uint16),
        ttl=seen["ttl"].astype(np.uint8),
        tcp_window=seen["window"].astype(np.uint16),
        options=seen["options"].astype(np.uint32),
        more=(count - 1).astype(np.uint32),
        lost=lost,
        of_banned=max(BANNED_ONE_IN // one_in, 1),
        rest=(seen["mss"].astype(np.uint16), seen["length"].astype(np.uint16)),
    )
