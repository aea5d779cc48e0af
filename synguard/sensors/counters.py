"""The kernel's TCP counters: they name no source, but no flood blinds them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

from synguard.errors import SensorError
from synguard.readings import CounterReading

PROC_NET: Final = Path("/proc/net")
GROUPS: Final = {"netstat": "TcpExt", "snmp": "Tcp"}
"""File → the group of it that we read; names do not repeat between the two."""
ARRIVED: Final = "InSegs"
"""Segments that TCP was ever handed: while it stands still, no SYN has arrived."""
_LONGEST: Final = 1 << 16
"""Room for one file; the kernel gives it whole where it fits."""


def read_counters(now: float, proc_net: Path = PROC_NET, files: Iterable[str] = GROUPS) -> CounterReading:
    """Return the absolute TCP counters of this network namespace; a name this kernel lacks is absent.

    Raises:
        SensorError: A file cannot be read, or does not have the form of a counter file.
    """
    values: dict[str, int] = {}
    for file in files:
        path = f"{proc_net}/{file}"
        try:
            values |= parse_group(_read(path).decode("ascii"), GROUPS[file])
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SensorError(f"{path} cannot be read: {reason}; is /proc mounted here?") from error
    return CounterReading(now, values)


def read_segments(now: float) -> CounterReading:
    """Return the counters that ``ARRIVED`` is among: a quarter of the cost of all.

    Raises:
        SensorError: As ``read_counters``.
    """
    return read_counters(now, files=("snmp",))


def segments_arrived() -> int:
    """Return how many segments TCP was ever handed.

    Raises:
        SensorError: They cannot be read, or this kernel does not count them.
    """
    values = read_segments(0.0).values
    if ARRIVED not in values:
        raise SensorError(f"this kernel does not count {ARRIVED}")
    return values[ARRIVED]


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _LONGEST)
    finally:
        os.close(descriptor)


def parse_group(text: str, group: str) -> dict[str, int]:
    """Return name → value of one group; both files have this form::

        TcpExt: SyncookiesSent SyncookiesRecv SyncookiesFailed
        TcpExt: 12 3 4

    Raises:
        ValueError: The group is missing, or its two lines do not fit together.
    """
    lines = [line for line in text.splitlines() if line.startswith(f"{group}:")]
    if len(lines) != 2:
        raise ValueError(f"it has no group {group}")
    names, numbers = _names(lines[0]), lines[1].split()[1:]
    if len(names) != len(numbers):
        raise ValueError(f"group {group} has {len(names)} names but {len(numbers)} values")
    return dict(zip(names, map(int, numbers), strict=True))


@lru_cache(maxsize=2 * len(GROUPS))
def _names(line: str) -> list[str]:
    """Return the names in a group's first line, which is the same until another kernel runs."""
    return line.split()[1:]
