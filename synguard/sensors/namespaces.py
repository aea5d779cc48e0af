"""Other network namespaces of this machine: found, told apart, entered for a moment, never held longer than they live.

A namespace lives as long as somebody holds it: a process in it, a name in ``/run/netns``, and also a descriptor or
socket of ours. What else keeps it alive is its *holder*; when that is gone, what we hold must be let go at once, or a
container that stopped would leave its interfaces behind.
"""

from __future__ import annotations

import ctypes
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from synguard.errors import SensorError
from synguard.sensors.listener_names import process_name

_T = TypeVar("_T")

NAMED: Final = Path("/run/netns")
PROCESSES: Final = Path("/proc")
WALK_FOR_S: Final = 0.05
"""What one walk over the processes may take; the next goes on where it stopped."""
PROCESSES_A_WALK: Final = 4096

_CLONE_NEWNET: Final = 0x40000000
_CONTAINER: Final = re.compile(
    r"(docker|libpod|crio|cri-containerd|containerd)[-/.:]+([0-9a-f]{12})[0-9a-f]{52}|"
    r"/(kubepods)[^:]*?/([0-9a-f]{12})[0-9a-f]{52}|/(lxc)(?:\.payload)?[./]([\w.-]+)"
)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A network namespace as it was seen in one place."""

    inode: int
    """Names it as long as it lives; given to another one afterwards."""
    holder: str
    """The file that leads to it and is gone with it: ``/run/netns/web`` or ``/proc/812/ns/net``."""
    pid: int = 0
    """A process in it; 0 where it was found by its name."""

    def label(self) -> str:
        """Return what people call it: its name, its container, or a process in it."""
        if not self.pid:
            return Path(self.holder).name
        container = container_of(self.pid)
        return f"{container} {process_name(self.pid)}" if container else process_name(self.pid)

    def stands(self) -> bool:
        """Return whether the holder still leads to it."""
        try:
            return os.stat(self.holder).st_ino == self.inode
        except OSError:
            return False

    def open(self) -> int:
        """Return a descriptor that holds it.

        Raises:
            SensorError: It is gone, another one is there now, or it may not be opened.
        """
        try:
            descriptor = os.open(self.holder, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise SensorError(f"the network namespace {self.holder} cannot be opened: {error.strerror}") from error
        if os.fstat(descriptor).st_ino != self.inode:
            os.close(descriptor)
            raise SensorError(f"the network namespace {self.holder} is another one by now")
        return descriptor


class Walk:
    """Goes over the namespaces of this machine, named ones first, each once a walk, in bounded time."""

    def __init__(self, named: Path = NAMED, processes: Path = PROCESSES) -> None:
        self._named, self._processes = named, processes
        self._pids: list[int] = []
        self.refused = False
        """Whether a process's namespace could not be looked at for want of permission, in this walk."""

    def sightings(self) -> Iterator[Sighting]:
        """Yield each namespace but ours; a walk that is cut short goes on with the processes it has not seen."""
        own = os.stat("/proc/thread-self/ns/net")
        seen = {own.st_ino}
        self.refused = False
        for sighting in self._all(own.st_dev):
            if sighting.inode not in seen:
                seen.add(sighting.inode)
                yield sighting

    def _all(self, device: int) -> Iterator[Sighting]:
        for path in sorted(_listed(self._named)):
            found = _stat(path)
            if found is not None and found.st_dev == device:  # else a name that nothing is mounted on
                yield Sighting(found.st_ino, path)
        if not self._pids:
            pids = (int(name) for name in os.listdir(self._processes) if name.isdecimal())
            self._pids = sorted(pids, reverse=True)
        until = time.monotonic() + WALK_FOR_S
        for _ in range(PROCESSES_A_WALK):
            if not self._pids or time.monotonic() > until:
                return
            pid = self._pids.pop()
            try:
                found = os.stat(f"{self._processes}/{pid}/ns/net")
            except PermissionError:
                self.refused = True
            except OSError:
                continue
            else:
                yield Sighting(found.st_ino, f"{self._processes}/{pid}/ns/net", pid)


def inside(descriptor: int, call: Callable[[], _T]) -> _T:
    """Return what ``call`` returns in another network namespace, in a thread that ends with it.

    Sockets and ``/proc/thread-self/net`` files that it opens stay bound to that namespace wherever they are used. Some
    50 µs beside the call itself.

    Raises:
        SensorError: It may not be entered, or is gone.
    """
    results: list[_T] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            _enter(descriptor)
            results.append(call())
        except BaseException as error:  # carried over to the caller's thread
            failures.append(error)

    worker = threading.Thread(target=work, name="inside-namespace")
    worker.start()
    worker.join()
    if failures:
        raise failures[0]
    return results[0]


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        reason = os.strerror(ctypes.get_errno())
        raise SensorError(f"a network namespace cannot be entered: {reason}; it needs the capability CAP_SYS_ADMIN")


def container_of(pid: int, processes: Path = PROCESSES) -> str:
    """Return ``docker 1a2b3c4d5e6f`` for a process of a container, by its cgroup; empty for any other.

    A sample: ``0::/system.slice/docker-1a2b….scope``.
    """
    try:
        text = (processes / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    match = _CONTAINER.search(text)
    if match is None:
        return ""
    kind, name = (word for word in match.groups() if word)
    return f"{'podman' if kind == 'libpod' else kind} {name}"


def _listed(directory: Path) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(directory)]
    except OSError:  # no tool has made a named namespace here
        return []


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
