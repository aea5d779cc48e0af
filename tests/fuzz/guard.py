"""What no input may do: write outside its directory, start a program, or take memory or time without end."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

MEMORY: Final = 1 << 30
"""Bytes that one input may have the process grow by; the largest that is let through takes a tenth."""
SECONDS: Final = 20.0
"""For one input, on a machine as busy as any; the slowest takes a hundredth."""

_CHANGES: Final = frozenset(
    {"os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate"}
)
_PROGRAMS: Final = frozenset({"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"})
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class ViolationError(BaseException):
    """An input did what none may; no ``except Exception`` of the code under test hides it."""


class Guard:
    """Watches this process for good, since hooks cannot be taken out; ``watching`` says when it matters."""

    def __init__(self, directory: Path, *, lenient: bool = False) -> None:
        """Allow writes below ``directory``; ``lenient`` refuses others as a file system does."""
        self._allowed = (f"{directory.resolve()}/", "/dev/null")
        self._lenient = lenient
        self._watching = False
        sys.addaudithook(self._heard)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hold one input to what it may do.

        Raises:
            ViolationError: It did more.
        """
        before = signal.signal(signal.SIGALRM, _too_slow)
        memory = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (_size() + MEMORY, memory[1]))
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        self._watching = True
        try:
            yield
        except MemoryError as error:
            raise ViolationError(f"it takes more than {MEMORY >> 20} MiB") from error
        finally:
            self._watching = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            resource.setrlimit(resource.RLIMIT_AS, memory)

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event in _PROGRAMS:
            raise ViolationError(f"it starts a program: {event} {arguments[:2]!r}")
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES:
            self._check(event, arguments[0])
        elif event in _CHANGES:
            for path in arguments[:2] if event in ("os.link", "os.rename", "os.symlink") else arguments[:1]:
                self._check(event, path)

    def _check(self, event: str, path: Any) -> None:
        if isinstance(path, int):  # a descriptor, whose opening was checked
            return
        name = os.path.realpath(os.fsdecode(path))
        if name.endswith(".pyc") or "/__pycache__" in name:
            return
        if not f"{name}/".startswith(self._allowed):
            if self._lenient:
                raise PermissionError(13, "Permission denied", name)
            raise ViolationError(f"it writes outside its directory: {event} {name}")


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise ViolationError(f"it takes longer than {SECONDS:g} s")


def _size() -> int:
    """Return the bytes of address space that this process has now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
