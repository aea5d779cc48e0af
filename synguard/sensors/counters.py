"""The kernel's TCP counters: they name no source, but no flood blinds them."""

from __future__ import annotations

import os
from collections.abc import Mapping
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


def read_counters(now: float, proc_net: Path = PROC_NET) -> CounterReading:
    """Return the absolute TCP counters of this network namespace; a name this kernel lacks is absent.

    Raises:
        SensorError: A file cannot be read, or does not have the form of a counter file.
    """
    files = CounterFiles(proc_net)
    try:
        return files.read(now)
    finally:
        files.close()


class CounterFiles:
    """The same counters through files that stay open, taken apart only where they changed: a third of the cost.

    They are those of the network namespace that they were opened in, at the first reading.
    """

    def __init__(self, proc_net: Path = PROC_NET) -> None:
        self._proc_net = proc_net
        self._open: dict[str, int] = {}
        self._last: dict[str, tuple[bytes, dict[str, int]]] = {}
        """File → the line of numbers that was read last, and what it says."""

    def read(self, now: float) -> CounterReading:
        """Return what ``read_counters`` does.

        Raises:
            SensorError: As there.
        """
        return CounterReading(now, {name: value for file in GROUPS for name, value in self._group(file).items()})

    def segments(self) -> Mapping[str, int]:
        """Return the counters that ``ARRIVED`` is among; the same object while none of them has changed.

        Raises:
            SensorError: As ``read``.
        """
        return self._group("snmp")

    def arrived(self) -> int:
        """Return how many segments TCP was ever handed.

        Raises:
            SensorError: They cannot be read, or this kernel does not count them.
        """
        try:
            return self._group("snmp")[ARRIVED]
        except KeyError:
            raise SensorError(f"this kernel does not count {ARRIVED}") from None

    def close(self) -> None:
        """Close the files; the next reading would open them anew."""
        while self._open:
            os.close(self._open.popitem()[1])

    def _group(self, file: str) -> dict[str, int]:
        try:
            if file not in self._open:
                self._open[file] = os.open(f"{self._proc_net}/{file}", os.O_RDONLY | os.O_CLOEXEC)
            text = os.pread(self._open[file], _LONGEST, 0)
            start = text.rfind(f"\n{GROUPS[file]}: ".encode())
            line = text[start : text.find(b"\n", start + 1)]
            last = self._last.get(file)
            if last is None or last[0] != line:
                last = self._last[file] = line, parse_group(text.decode("ascii"), GROUPS[file])
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SensorError(f"{self._proc_net}/{file} cannot be read: {reason}; is /proc mounted here?") from error
        return last[1]


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
