"""Where the programs that we run as root are looked for, and what they are told of our environment: nothing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

PLACES: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Directories of root's. ``PATH`` is whoever's shell we were started from; a service's or sudo's may lack these."""


def find_tool(name: str) -> str | None:
    """Return the path of a program, or None where it is not installed."""
    return shutil.which(name, path=PLACES)


def tool_environment() -> dict[str, str]:
    """Return all variables that a program gets: where to find others, and plain English."""
    return {"PATH": PLACES, "LC_ALL": "C"}


def run_tool(command: Sequence[str], timeout_s: float, stdin: int | None = None) -> subprocess.CompletedProcess[str]:
    """Return how a program ended, and what it printed.

    Raises:
        OSError: It cannot be started.
        subprocess.TimeoutExpired: It did not end in time, and was killed.
    """
    return subprocess.run(  # noqa: S603  # a fixed tool, arguments of ours, no shell
        command,
        stdin=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        env=tool_environment(),
        check=False,
    )
