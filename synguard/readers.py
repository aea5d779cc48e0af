"""Who may read without root: the members of one Unix group, of the files that are for them and of no other.

A directory that the group may pass through says so; the files for readers follow it. Locks and secrets are for
no one: who can open a lock can hold it.
"""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path
from typing import Final

PASS: Final = 0o2710
"""A directory that the group passes through and cannot list; files in it get its group."""
CLOSED: Final = 0o700
READABLE: Final = 0o640
LEDGER_FILES: Final = ("ledger.db", "ledger.db-wal", "ledger.db-shm")
"""They outlive an agent; the other files for readers are written anew."""


def group_id(name: str) -> int | None:
    """Return the number of a group; None where there is no such group, or no name."""
    try:
        return grp.getgrnam(name).gr_gid if name else None
    except KeyError:
        return None


def is_shared(directory: Path) -> bool:
    """Return whether a group may pass through a directory of ours."""
    return bool(directory.stat().st_mode & stat.S_IXGRP)


def share(directory: Path, group: str) -> None:
    """Let the members of a group read what is for them in a directory of ours; no one where there is no such group.

    Raises:
        OSError: The group cannot be given; no one but we may read then.
    """
    gid, found = group_id(group), directory.stat()
    if gid is None:
        if found.st_mode & stat.S_IRWXG:
            directory.chmod(CLOSED)
        return
    if found.st_gid != gid:
        os.chown(directory, -1, gid)
    for path in (directory / name for name in LEDGER_FILES):
        if path.is_file() and not path.is_symlink():
            os.chown(path, -1, gid)
            path.chmod(READABLE)
    if stat.S_IMODE(found.st_mode) != PASS:
        directory.chmod(PASS)
