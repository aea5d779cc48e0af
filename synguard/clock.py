"""Time as the agent sees it; tests hold a clock that they turn by hand."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """What the agent needs of time. ``detector`` and ``decision`` are given ``now`` instead."""

    def monotonic(self) -> float:
        """Return seconds that only ever grow; for intervals."""

    def utcnow(self) -> datetime:
        """Return the time of day, aware, in UTC; for people and for the kernel's expiries."""

    def wait(self, timeout: float, *descriptors: int) -> bool:
        """Wait up to ``timeout`` seconds; return True as soon as it was interrupted or a descriptor can be read."""


class SystemClock:
    """The machine's clock; ``interrupt()`` ends a wait at once, also from a signal handler."""

    def __init__(self) -> None:
        self._interrupted = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __del__(self) -> None:
        os.close(self._interrupted)

    def monotonic(self) -> float:
        """Return ``CLOCK_MONOTONIC`` in seconds."""
        return time.monotonic()

    def utcnow(self) -> datetime:
        """Return the time of day, aware, in UTC."""
        return utcnow()

    def wait(self, timeout: float, *descriptors: int) -> bool:
        """Wait up to ``timeout`` seconds; return True as soon as it was interrupted or a descriptor can be read."""
        ready, _, _ = select.select((self._interrupted, *descriptors), (), (), max(timeout, 0.0))
        if self._interrupted in ready:
            with suppress(BlockingIOError):  # another thread's wait took it
                os.eventfd_read(self._interrupted)
        return bool(ready)

    def interrupt(self) -> None:
        """End the present or the next wait at once."""
        os.eventfd_write(self._interrupted, 1)


def utcnow() -> datetime:
    """Return the time of day, aware, in UTC."""
    return datetime.now(UTC)


def boot_id() -> str:
    """Return what names this boot; ``unknown`` where the kernel does not say."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def rfc3339(moment: datetime) -> str:
    """Return an aware time as RFC 3339 in UTC with milliseconds: ``2026-03-01T12:00:00.000Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
