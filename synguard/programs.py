"""Where the programs that we run as root are looked for, and what they are told of our environment: nothing."""

from __future__ import annotations

import shutil
from typing import Final

PLACES: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Directories of root's. ``PATH`` is whoever's shell we were started from; a service's or sudo's may lack these."""


def find_tool(name: str) -> str | None:
    """Return the path of a program, or None where it is not installed."""
    return shutil.which(name, path=PLACES)


def tool_environment() -> dict[str, str]:
    """Return all variables that a program gets: where to find others, and plain English."""
    return {"PATH": PLACES, "LC_ALL": "C"}
