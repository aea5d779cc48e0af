"""A throw-away host in a network namespace: the machine's files below a layer that takes every write, its own pids.

What is typed there may write to /etc, leave programs behind or break the firewall: it ends with the sandbox. Sysctls
outside ``net`` are read-only, since the machine shares them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from tests.support.lab.namespaces import LabError, Namespace
from tests.support.lab.programs import Program, wait_for

HOME: Final = "/root/desk"
"""Where commands are typed: an empty directory."""

_SETUP: Final = r"""
set -e
base=$1
mount --make-rprivate /
mount -t tmpfs -o size=512m layer "$base"
mkdir "$base/upper" "$base/work" "$base/root"
[ -z "$3" ] || cp -a "$3/." "$base/upper/"
mount -t overlay layer -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
cd "$base/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t proc proc mnt
mount --bind mnt/sys/net proc/sys/net
umount -l mnt
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs run run
rm -rf etc/synguard var/lib/synguard
mkdir -p ."$2"
: > "$base/ready"
exec chroot . sleep infinity
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """One line of shell and what came of it; stdout and stderr as a terminal would mix them."""

    line: str
    code: int
    output: str


class Sandbox:
    """A throw-away host; a context manager. Its programs see the network of ``namespace``.

    ``layer`` is a directory whose files are laid over the machine's, as if they were installed.
    """

    def __init__(self, namespace: Namespace, base: Path, layer: Path | None = None) -> None:
        self._namespace, self._base, self._layer = namespace, base, layer
        self._outside: Program | None = None
        self._pid = 0

    def __enter__(self) -> Sandbox:
        self._base.mkdir(parents=True)
        over = str(self._layer or "")
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "bash", "-c", _SETUP, "bash"]
        self._outside = Program(self._namespace, [*command, str(self._base), HOME, over], self._base.parent, "sandbox")
        try:
            self._pid = wait_for(self._ready, "the sandbox")
        except BaseException:
            self._outside.kill_if_running()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._outside is not None:
            self._outside.kill_if_running()
            wait_for(lambda: not Path(f"/proc/{self._pid}/root/proc").exists(), "the end of the sandbox")

    def _ready(self) -> int | None:
        outside = self._outside
        assert outside is not None
        if not outside.running:
            raise LabError(f"the sandbox could not be built: {outside.stderr.strip()}")
        children = Path(f"/proc/{outside.process.pid}/task/{outside.process.pid}/children").read_text().split()
        inside = int(children[0]) if children else 0
        chrooted = inside and Path(f"/proc/{inside}/comm").read_text().strip() == "sleep"
        return inside if chrooted else None

    def path(self, inside: str) -> Path:
        """Return how a file of the sandbox is called from outside."""
        return Path(f"/proc/{self._pid}/root{inside}")

    def write(self, inside: str, content: str | bytes) -> None:
        """Write a file, its directories too; relative names lie where commands are typed."""
        path = self.path(inside if inside.startswith("/") else f"{HOME}/{inside}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def run(self, line: str, timeout: float = 60.0) -> Ran:
        """Run a line of shell as root and return what came of it; 124 where it was not done in time."""
        done = subprocess.run(
            ["timeout", "--kill-after=5", str(timeout), *self._entering(line)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=self._environment(),
        )
        return Ran(line, done.returncode, done.stdout)

    def start(self, line: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a line of shell, its output going to a file outside."""
        with log.open("wb") as out:
            return subprocess.Popen(
                self._entering(f"exec {line}"),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._environment(),
            )

    def _entering(self, line: str) -> list[str]:
        enter = ["nsenter", f"--target={self._pid}", "--mount", "--pid", "--net", "--root", f"--wd={self.path(HOME)}"]
        return [*enter, "bash", "-c", line]

    @staticmethod
    def _environment() -> Mapping[str, str]:
        path = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        quiet = {"NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb", "LC_ALL": "C.UTF-8"}
        return {"PATH": path, "HOME": "/root", **quiet}


def stop(program: subprocess.Popen[bytes], patience: float = 15.0) -> int:
    """End a program that a sandbox started, as systemd does; return its exit code."""
    for child in _children(program.pid) or [program.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while program.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if program.poll() is None:
        program.kill()
    return program.wait()


def _children(pid: int) -> list[int]:
    """Return the children of a process: ``nsenter`` forks to be in the pid namespace."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
