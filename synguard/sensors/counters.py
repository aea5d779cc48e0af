"""The kernel's TCP counters: they name no source, but no flood blinds them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from synguard.errors import SensorError
from synguard.readings import CounterReading

PROC_NET: Final = Path("/proc/net")
GROUPS: Final = {"netstat": "TcpExt", "snmp": "Tcp"}
"""File → the group of it that we read; names do not repeat between the two."""


def read_counters(now: float, proc_net: Path = PROC_NET) -> CounterReading:
    """Return the absolute TCP counters of this network namespace; a name this kernel lacks is absent.

    Raises:
        SensorError: A file cannot be read, or does not have the form of a counter file.
    """
    values: dict[str, int] = {}
    for file, group in GROUPS.items():
        path = proc_net / file
        try:
            values |= parse_group(path.read_text(encoding="ascii"), group)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SensorError(f"{path} cannot be read: {reason}; is /proc mounted here?") from error
    return CounterReading(now, values)


def parse_group(text: str, group: str) -> dict[str, int]:
    """Return name → value of one group; both files have this form::

        TcpExt: SyncookiesSent SyncookiesRecv SyncookiesFailed
        TcpExt: 12 3 4

    Raises:
        ValueError: The group is missing, or its two lines do not fit together.
    """
    lines = [line.split()[1:] for line in text.splitlines() if line.startswith(f"{group}:")]
    if len(lines) != 2:
        raise ValueError(f"it has no group {group}")
    names, numbers = lines
    if len(names) != len(numbers):
        raise ValueError(f"group {group} has {len(names)} names but {len(numbers)} values")
    return {name: int(number) for name, number in zip(names, numbers, strict=True)}
