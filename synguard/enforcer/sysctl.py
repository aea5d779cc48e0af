"""Kernel settings under /proc/sys, read and written; those under ``net.`` are this network namespace's own."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final, Protocol

from synguard.errors import PlaneError

PROC_SYS: Final = Path("/proc/sys")
SYN_COOKIES: Final = "net.ipv4.tcp_syncookies"
"""Governs IPv6 too."""
TCP_TIMESTAMPS: Final = "net.ipv4.tcp_timestamps"
ALWAYS: Final = 2
"""Of that: every SYN is answered with a cookie, queue or no queue. 3 to 255 mean 1: only where a queue is full."""

_WHY: Final = {
    errno.ENOENT: "this kernel has no such setting, or /proc is not mounted",
    errno.EROFS: "/proc/sys is read-only here; in a service of systemd, set ProtectKernelTunables=no",
    errno.EACCES: "not permitted; it takes CAP_NET_ADMIN",
    errno.EPERM: "not permitted; it takes CAP_NET_ADMIN",
}


class Settings(Protocol):
    """Where whole-number kernel settings are read and written, by dotted name."""

    def read(self, name: str) -> int:
        """Return the value; raises ``PlaneError`` where it cannot be read."""

    def write(self, name: str, value: int) -> None:
        """Set the value; raises ``PlaneError`` where the kernel refuses."""


class Sysctl:
    """The kernel's own settings, those of the calling thread's network namespace."""

    def __init__(self, root: Path = PROC_SYS) -> None:
        self._root = root

    def read(self, name: str) -> int:
        """Return the value.

        Raises:
            PlaneError: There is no such setting, or it is no whole number.
        """
        try:
            return int(self._path(name).read_text(encoding="ascii"))
        except OSError as error:
            raise PlaneError(f"reading {name}", _why(error)) from error
        except ValueError as error:
            raise PlaneError(f"reading {name}", "it is not a whole number") from error

    def write(self, name: str, value: int) -> None:
        """Set the value; a setting that is not there is not made.

        Raises:
            PlaneError: The kernel refused.
        """
        try:
            with self._path(name).open("r+", encoding="ascii") as file:
                file.write(f"{value}\n")
        except OSError as error:
            raise PlaneError(f"setting {name} to {value}", _why(error)) from error

    def _path(self, name: str) -> Path:
        return self._root / name.replace(".", "/")


class DryRunSysctl:
    """Settings for dry-run: what is written is remembered here and read back, the kernel's stay as they are.

    Somebody else's change shows through: what was written counts only while the kernel holds what it held then.
    """

    def __init__(self, kernel: Settings) -> None:
        self._kernel = kernel
        self._written: dict[str, tuple[int, int]] = {}
        """Name → (the kernel's value then, the value written)."""

    def read(self, name: str) -> int:
        """Return the value as it would be now."""
        actual = self._kernel.read(name)
        then, written = self._written.get(name, (actual, actual))
        return written if actual == then else actual

    def write(self, name: str, value: int) -> None:
        """Remember the value."""
        self._written[name] = (self._kernel.read(name), value)


def _why(error: OSError) -> str:
    return _WHY.get(error.errno or 0, error.strerror or str(error))
