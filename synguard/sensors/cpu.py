"""Where the CPUs' time goes, and packets that were dropped before TCP: whether receiving packets is the bottleneck."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from synguard.errors import SensorError
from synguard.readings import CpuReading, CpuTimes

PROC: Final = Path("/proc")
_USER, _NICE, _SYSTEM, _IDLE, _IOWAIT, _IRQ, _SOFTIRQ, _STEAL = range(8)


def read_cpu(now: float, proc: Path = PROC) -> CpuReading:
    """Return the absolute times of every CPU and the packets it took and dropped.

    Raises:
        SensorError: A file cannot be read, or does not have the form it should.
    """
    try:
        times = parse_stat((proc / "stat").read_text(encoding="ascii"))
        taken, dropped = parse_softnet((proc / "net/softnet_stat").read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SensorError(f"CPU times cannot be read: {reason}; is {proc} mounted here?") from error
    return CpuReading(now, times, taken, dropped)


def parse_stat(text: str) -> tuple[CpuTimes, ...]:
    """Return the times of each CPU, in ticks::

        cpu  2255 34 2290 22625563 6290 127 456 0 0 0
        cpu0 1132 34 1441 11311718 3675 127 438 0 0 0

    Raises:
        ValueError: No CPU is in it, or a line is too short.
    """
    found = []
    for line in text.splitlines():
        name, *numbers = line.split()
        if name.startswith("cpu") and name != "cpu":
            values = [int(number) for number in numbers]
            if len(values) <= _STEAL:
                raise ValueError(f"the line of {name} has {len(values)} numbers")
            found.append(CpuTimes(int(name[3:]), values[_IRQ] + values[_SOFTIRQ], sum(values[: _STEAL + 1])))
    if not found:
        raise ValueError("it names no CPU")
    return tuple(found)


def parse_softnet(text: str) -> tuple[int, int]:
    """Return packets taken from the backlog and dropped because it was full, of all CPUs; hexadecimal columns::

        0000272d 00000000 00000001 00000000 …

    Raises:
        ValueError: A line has no two numbers.

    Source: ``softnet_seq_show``, net/core/net-procfs.c. The kernel keeps 32 bits of each.
    """
    rows = [line.split() for line in text.splitlines()]
    if any(len(row) < 2 for row in rows):
        raise ValueError("a line of softnet_stat has no two numbers")
    return sum(int(row[0], 16) for row in rows), sum(int(row[1], 16) for row in rows)
