"""One agent per runtime directory: a lock that the kernel drops however the agent dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from synguard.errors import RefusedError, SynguardError
from synguard.private import NotOursError, open_private
from synguard.status.freshness import AGENT_LOCK


@retry(
    retry=retry_if_exception_type(BlockingIOError),
    stop=stop_after_delay(1.0),
    wait=wait_fixed(0.05),
    reraise=True,
)
def _take(handle: int) -> None:
    """Take the lock; a verb that only asks whether an agent runs holds it for an instant."""
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _opened(path: Path) -> int:
    try:
        return open_private(path, os.O_RDWR | os.O_CREAT)
    except NotOursError as error:
        raise RefusedError(f"the lock {path} cannot be used: {error.strerror}") from error
    except OSError as error:
        raise SynguardError(f"the lock {path} cannot be opened: {error.strerror}") from error


class AgentLock:
    """Held for as long as the agent lives.

    Raises:
        SynguardError: Another agent holds it, or it cannot be opened.
        RefusedError: The file is not ours alone.
    """

    def __init__(self, runtime_dir: Path) -> None:
        path = runtime_dir / AGENT_LOCK
        self._handle = _opened(path)
        try:
            _take(self._handle)
        except BlockingIOError as error:
            pid = os.pread(self._handle, 32, 0).decode("ascii", "replace").strip()
            os.close(self._handle)
            raise SynguardError(
                f"another synguard agent runs with {runtime_dir} (pid {pid or 'unknown'}): stop it first, "
                "or give this one a runtime_dir of its own"
            ) from error
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, str(os.getpid()).encode(), 0)

    def __enter__(self) -> AgentLock:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)
