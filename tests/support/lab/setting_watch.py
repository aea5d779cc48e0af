"""Watches one setting of the victim's kernel: ``python -m tests.support.lab.setting_watch PATH``.

Prints ``{"event": "value", "at": CLOCK_MONOTONIC, "value": 1}`` at the start and at every change.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.support.lab.programs import Program, wait_for
from tests.support.lab.warm import lab_program

if TYPE_CHECKING:
    from tests.support.lab.lab import Lab

PERIOD_S: Final = 0.005
SYN_COOKIES: Final = "/proc/sys/net/ipv4/tcp_syncookies"


class SettingWatch:
    """The values that a setting had, one after the other."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def changes(self) -> list[int]:
        """Return the value at the start and every one since."""
        return [line["value"] for line in self._program.lines()]

    def became(self, value: int, timeout: float = 40.0) -> float:
        """Return ``CLOCK_MONOTONIC`` of the latest change to a value that it has now, waiting for that.

        Raises:
            LabError: It was something else all the while.
        """

        def moment() -> float | None:
            lines = self._program.lines()
            return float(lines[-1]["at"]) if lines and lines[-1]["value"] == value else None

        return wait_for(moment, f"the setting to become {value}, it was {self.changes()}", timeout)


def start_setting_watch(lab: Lab, path: str = SYN_COOKIES) -> SettingWatch:
    """Watch a setting of the victim; return once the first value is known."""
    program = lab.start(lab.victim, lab_program("setting_watch", path), "setting")
    program.wait_line("value")
    return SettingWatch(program)


def main() -> None:
    """Print values until killed."""
    path, before = Path(sys.argv[1]), ""
    while True:
        value = path.read_text().strip()
        if value != before:
            print(f'{{"event": "value", "at": {time.monotonic():.6f}, "value": {value}}}', flush=True)
            before = value
        time.sleep(PERIOD_S)


if __name__ == "__main__":
    main()
