"""A worker thread that lives in another network namespace, and a plane whose every call is made there.

The kernel keeps a namespace per thread: sockets that the thread opens and processes that it starts are in there,
while the test itself stays where it is.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

from synguard.enforcer.plane import Actual, Delta, Plane
from synguard.model import Ban, KernelBan
from tests.support.lab.namespaces import Namespace

P = ParamSpec("P")
T = TypeVar("T")

_CLONE_NEWNET: Final = 0x40000000
_PATIENCE_S: Final = 60.0


class NetworkThread:
    """One thread in a namespace: a new nameless one that ends with it, or one of the lab's."""

    def __init__(self, namespace: Namespace | None = None) -> None:
        self._namespace = namespace
        self._pool = ThreadPoolExecutor(max_workers=1, initializer=self._enter)

    def call(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Return what ``work`` returns, or raise what it raises, there."""
        return self._pool.submit(work, *given, **named).result(_PATIENCE_S)

    def sh(self, command: str, check: bool = True) -> str:
        """Return what a shell command prints there."""
        return self.call(_sh, command, check)

    def close(self) -> None:
        """End the thread, and with it a nameless namespace."""
        self._pool.shutdown(wait=False, cancel_futures=True)  # a hung call must not hang the run

    def _enter(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if self._namespace is None:
            failed = libc.unshare(_CLONE_NEWNET)
        else:
            descriptor = os.open(self._namespace.path, os.O_RDONLY)
            failed = libc.setns(descriptor, _CLONE_NEWNET)
            os.close(descriptor)
        if failed:
            raise OSError(ctypes.get_errno(), "entering a network namespace")


class PlaneThere:
    """A plane in a `NetworkThread`."""

    def __init__(self, thread: NetworkThread, make: Callable[[], Plane]) -> None:
        self.thread, self._make = thread, make
        self._plane = thread.call(make)

    def of_another_process(self) -> PlaneThere:
        """Return a plane that knows nothing but what the kernel holds."""
        return PlaneThere(self.thread, self._make)

    @property
    def name(self) -> str:
        """The plane's name."""
        return self._plane.name

    @property
    def show_command(self) -> str:
        """The plane's command."""
        return self._plane.show_command

    @property
    def ceiling(self) -> int:
        """The plane's ceiling."""
        return self._plane.ceiling

    @property
    def ceiling_key(self) -> str:
        """Its key."""
        return self._plane.ceiling_key

    def place(self, ban: Ban | KernelBan) -> tuple[str, int]:
        """As the plane does."""
        return self._plane.place(ban)

    def check(self) -> None:
        """As the plane does."""
        self.thread.call(self._plane.check)

    def read(self) -> Actual:
        """As the plane does."""
        return self.thread.call(self._plane.read)

    def apply(self, change: Delta) -> None:
        """As the plane does."""
        self.thread.call(self._plane.apply, change)

    def flush(self) -> None:
        """As the plane does."""
        self.thread.call(self._plane.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plane, name)


def _sh(command: str, check: bool) -> str:
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=20, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"{command}: {done.stderr}")
    return done.stdout
