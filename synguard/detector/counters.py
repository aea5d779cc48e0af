"""Kernel counters to rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from synguard.readings import CounterReading

DROPPED: Final = ("TCPReqQFullDrop",)
"""SYNs that a full SYN queue turned into nothing (``tcp_syncookies=0``)."""


def rate(before: CounterReading | None, after: CounterReading, names: Sequence[str]) -> float:
    """Return how fast the sum of some counters grew, per second.

    A counter that the kernel does not have counts as 0; one that went backwards (namespace recreated) or a first
    reading gives 0.0, not a spike.

    Source: Linux Documentation/networking/snmp_counter.rst.
    """
    if before is None or after.at <= before.at:
        return 0.0
    grown = sum(after.values.get(name, 0) - before.values.get(name, 0) for name in names)
    return max(grown, 0) / (after.at - before.at)
