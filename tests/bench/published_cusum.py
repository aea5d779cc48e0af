"""The detector that the field publishes, for comparison: Wang, Zhang & Shin, "Detecting SYN flooding attacks".

INFOCOM 2002: in each observation period, ``X = (SYNs - FINs) / mean FINs``; ``y = max(0, y + X - a)``; alarm while
``y > N``; with a = 0.35 and N = 1.05, so that an attack of twice a is told in three periods. It watches a whole host or
network and names no source.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

OFFSET: Final = 0.35
THRESHOLD: Final = 1.05
MEMORY: Final = 0.9
"""Weight of the past in the mean of FINs; theirs is "close to 1"."""
_LEAST_MEAN: Final = 1.0

Counts = npt.NDArray[np.int64]


def alarms(syns: Counts, fins: Counts) -> npt.NDArray[np.bool_]:
    """Return for each period (one entry each in both columns) whether the alarm is on at its end."""
    mean, y = float(max(fins[0], _LEAST_MEAN)), 0.0
    on = np.zeros(len(syns), np.bool_)
    for period, (opened, closed) in enumerate(zip(syns.tolist(), fins.tolist(), strict=True)):
        y = max(0.0, y + (opened - closed) / max(mean, _LEAST_MEAN) - OFFSET)
        mean = MEMORY * mean + (1 - MEMORY) * closed
        on[period] = y > THRESHOLD
    return on


def per_period(times: npt.NDArray[np.float64], period_s: float, until: float) -> Counts:
    """Return how many of these moments fall into each whole period from 0 to ``until``."""
    periods = int(until // period_s)
    return np.histogram(times, bins=periods, range=(0.0, periods * period_s))[0].astype(np.int64)
