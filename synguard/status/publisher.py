"""The status as it is published, about once a second: to readers in this process, and to a file for the verbs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from synguard.status.model import Status, write_status

STATUS_EVERY_S: Final = 1.0

Reader = Callable[[Status], None]
"""Given each status as it is published; must neither wait nor raise."""

Amendment = Callable[[Status], Status]
"""Adds to a status what the tick does not know; must neither wait nor raise."""


class Publisher:
    """Publishes a status when one is due; a file that cannot be written is reported once and stops no one else."""

    def __init__(self, runtime_dir: Path) -> None:
        self.readers: list[Reader] = []
        self.amendments: list[Amendment] = []
        self._runtime_dir = runtime_dir
        self._due_at = float("-inf")
        self.problem = ""
        """Why the file cannot be written, one sentence; empty while it can."""

    def publish(self, status: Callable[[], Status], now: float) -> None:
        """Ask for a status and publish it, if one is due at ``now`` (monotonic seconds)."""
        if now < self._due_at:
            return
        self._due_at = now + STATUS_EVERY_S
        told = status()
        for amend in self.amendments:
            told = amend(told)
        for read in self.readers:
            read(told)
        self._write(told)

    def _write(self, status: Status) -> None:
        try:
            write_status(self._runtime_dir, status)
        except OSError as error:
            where = f"the status file cannot be written in {self._runtime_dir}: {error.strerror}"
            self.problem = f"{where}; verbs see an old one until then"
        else:
            self.problem = ""
