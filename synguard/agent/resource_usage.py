"""What the agent itself costs, summed up once per status: how long ticks take, how late they come, memory, CPU."""

from __future__ import annotations

import os
import resource
import statistics
import time
from pathlib import Path
from typing import Final

from synguard.status.model import AgentStatus

MOST_TICKS: Final = 256
"""Durations kept between two statuses; ticks come at most twenty times a second, and a status every second."""

_STATM: Final = Path("/proc/self/statm")


class ResourceUsage:
    """Gathers the figures of one status interval after another."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._cpu_s = cpu_seconds()
        self._took_s: list[float] = []
        self._late_s = 0.0

    def ticked(self, took_s: float, late_s: float) -> None:
        """Note one tick: how long it took, and how long after its time it began (negative where it was woken early)."""
        if len(self._took_s) < MOST_TICKS:
            self._took_s.append(took_s)
        self._late_s = max(self._late_s, late_s)

    def sum_up(self, now: float) -> AgentStatus:
        """Return the figures since the last call, and begin anew."""
        passed, cpu_s = now - self._since, cpu_seconds()
        summed = AgentStatus(
            ticks=len(self._took_s),
            tick_ms_p50=_ms(statistics.median(self._took_s) if self._took_s else 0.0),
            tick_ms_max=_ms(max(self._took_s, default=0.0)),
            late_ms_max=_ms(self._late_s),
            rss_bytes=rss_bytes(),
            cpu_share=round((cpu_s - self._cpu_s) / passed, 4) if passed > 0 else 0.0,
        )
        self._since, self._cpu_s, self._took_s, self._late_s = now, cpu_s, [], 0.0
        return summed


def cpu_seconds() -> float:
    """Return the CPU time of this process and of the tools that it ran and that have ended, such as ``ipset``."""
    tools = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + tools.ru_utime + tools.ru_stime


def rss_bytes(statm: Path = _STATM) -> int:
    """Return the memory that this process holds in RAM; 0 where the kernel does not tell.

    Sample: ``41021 15260 5120 731 0 20417 0``: pages, of which the second number is resident.
    """
    try:
        return int(statm.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)
