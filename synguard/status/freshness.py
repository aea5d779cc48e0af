"""Whether an agent runs: it holds a lock for as long as it lives, however it dies."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from synguard.errors import SynguardError
from synguard.status.model import Status, read_status

AGENT_LOCK: Final = "agent.lock"
"""Its name in the runtime directory."""

STALE_S: Final = 10.0
"""Age of the last reading beyond which a running agent is called stuck; a tick at its slowest takes far less."""


def agent_runs(runtime_dir: Path) -> bool | None:
    """Return whether an agent holds its lock; None where this user may not ask."""
    try:
        handle = os.open(runtime_dir / AGENT_LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def running_status(runtime_dir: Path) -> Status | None:
    """Return what the running agent says of itself; None where none runs, or where that cannot be read."""
    with suppress(SynguardError):
        return read_status(runtime_dir) if agent_runs(runtime_dir) else None
    return None


def is_stale(status: Status, now: datetime) -> bool:
    """Return whether what the status file says is too old to be the present."""
    last = status.last_reading_at or status.started_at
    return (now - last).total_seconds() > STALE_S


def seems_to_run(running: bool | None, status: Status | None, now: datetime) -> bool:
    """Return whether an agent runs; where this user may not ask, a fresh status file stands for one."""
    return (status is not None and not is_stale(status, now)) if running is None else running
