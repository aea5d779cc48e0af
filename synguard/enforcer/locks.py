"""File locks: ours around an apply, and the one that every legacy iptables tool takes."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from synguard.errors import LockHeldError, PlaneError
from synguard.private import NotOursError, open_private

APPLY_LOCK: Final = "apply.lock"
"""The file, in the runtime directory, that whoever applies holds."""
APPLY_WAIT_S: Final = 10.0
"""How long an apply waits for another synguard process."""
XTABLES_WAIT_S: Final = 5.0
"""How long a commit waits for an iptables command; a whole ``iptables-restore`` of 100,000 rules takes less."""
_POLL_S: Final = 0.005


@contextmanager
def exclusive(path: Path, wait_s: float, holder: str) -> Iterator[None]:
    """Hold the file's exclusive ``flock``; one that others could open, and so hold, is closed to them.

    Raises:
        PlaneError: It cannot be opened.
        LockHeldError: It is still held by ``holder`` after ``wait_s``.
    """
    try:
        descriptor = open_private(path, os.O_RDONLY | os.O_CREAT)
    except NotOursError as error:
        raise PlaneError(f"opening the lock file {path}", error.strerror or str(error)) from error
    except OSError as error:
        raise PlaneError(f"opening the lock file {path}", f"{error.strerror}; is its directory writable?") from error
    try:
        _lock(descriptor, path, wait_s, holder)
        yield
    finally:
        os.close(descriptor)


def xtables_path() -> Path:
    """Return the lock file of the legacy iptables tools: ``XTABLES_LOCKFILE`` or ``/run/xtables.lock``."""
    return Path(os.environ.get("XTABLES_LOCKFILE") or "/run/xtables.lock")


@contextmanager
def xtables_lock() -> Iterator[None]:
    """Hold what ``iptables -w`` holds, so that no iptables command can come between our read and our write."""
    with exclusive(xtables_path(), XTABLES_WAIT_S, "an iptables command"):
        yield


def _lock(descriptor: int, path: Path, wait_s: float, holder: str) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise LockHeldError(f"waiting for the lock {path}", f"{holder} has held it for {wait_s:g} s") from error
            time.sleep(_POLL_S)
        else:
            return
