"""Network namespaces that live no longer than the process that made them."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

NETNS_DIR: Final = Path("/run/netns")
REPOSITORY: Final = Path(__file__).resolve().parents[3]

_NAME: Final = re.compile(r"sgl-(?P<pid>\d+)-(?P<born>\d+)-[0-9a-f]+-[a-z0-9]+")
_PATIENCE_S: Final = 20.0
"""Longest that one ``ip`` or ``nft`` call may take; a busy two-core machine needs a tenth of it."""


class LabError(Exception):
    """The lab could not be built or run; the text carries the tool's own words."""


def new_prefix() -> str:
    """Return ``sgl-PID-BORN-RANDOM``: names that start so belong to this process alone.

    ``BORN`` is the process's start time in clock ticks, so that a reused pid is not taken for the owner.
    """
    return f"sgl-{os.getpid()}-{_born(os.getpid())}-{secrets.token_hex(3)}"


@dataclass(frozen=True, slots=True)
class Namespace:
    """One named network namespace."""

    name: str

    @property
    def path(self) -> Path:
        """The file that ``setns`` opens."""
        return NETNS_DIR / self.name

    def add(self) -> None:
        """Create it, with ``lo`` up."""
        _run(["ip", "netns", "add", self.name])
        self.ip(["link set lo up"])

    def remove_if_present(self) -> None:
        """Kill what still runs inside and remove it; its interfaces and rules go with it."""
        if not self.path.exists():
            return
        for _ in range(3):
            pids = self.pids()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not pids:
                break
            time.sleep(0.02)
        _run(["ip", "netns", "delete", self.name])

    def pids(self) -> list[int]:
        """Return the processes inside."""
        return [int(word) for word in _run(["ip", "netns", "pids", self.name]).split()]

    def ip(self, commands: Iterable[str]) -> None:
        """Run ``ip`` commands inside, all in one process: ``["link set eth0 up", …]``."""
        _run(["ip", "-n", self.name, "-batch", "-"], stdin="\n".join(commands) + "\n")

    def sysctl(self, values: Mapping[str, str | int]) -> None:
        """Set sysctls inside: ``{"net.ipv4.tcp_syncookies": 0}``."""
        self.run(["sysctl", "-q", "-w", *(f"{name}={value}" for name, value in values.items())])

    def nft(self, ruleset: str) -> None:
        """Load an nftables ruleset inside."""
        self.run(["nft", "-f", "-"], stdin=ruleset)

    def run(self, command: Sequence[str], stdin: str | None = None, timeout: float = _PATIENCE_S) -> str:
        """Run a command inside and return what it printed.

        Raises:
            LabError: It failed or took longer than ``timeout`` seconds.
        """
        return _run(self.command(command), stdin, timeout)

    def command(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs ``command`` inside and dies with the calling thread."""
        return ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self.name, *command]

    def start(self, command: Sequence[str], stdout: IO[bytes], stderr: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a command inside without waiting for it."""
        return subprocess.Popen(
            self.command(command), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, cwd=REPOSITORY
        )


def python_module(module: str, *arguments: str) -> list[str]:
    """Return the command line for ``python -m module`` with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def new_workdir() -> Path:
    """Make a working directory of this process, recognised by its name as namespaces are."""
    workdir = Path(tempfile.gettempdir()) / f"{new_prefix()}-files"
    workdir.mkdir(mode=0o700)
    return workdir


def sweep_stale() -> list[str]:
    """Remove the namespaces and working directories of lab processes that are gone; return their names."""
    namespaces = [name for name in lab_namespaces() if _is_stale(name)]
    for name in namespaces:
        Namespace(name).remove_if_present()
    workdirs = [path for path in Path(tempfile.gettempdir()).glob("sgl-*-files") if _is_stale(path.name)]
    for path in workdirs:
        shutil.rmtree(path, ignore_errors=True)
    return [*namespaces, *(path.name for path in workdirs)]


def _is_stale(name: str) -> bool:
    match = _NAME.fullmatch(name)
    return match is not None and _born(int(match["pid"])) != int(match["born"])


def lab_namespaces(prefix: str = "sgl-") -> list[str]:
    """Return the names of the lab namespaces there are now."""
    return sorted(name for name in os.listdir(NETNS_DIR) if name.startswith(prefix)) if NETNS_DIR.is_dir() else []


def why_unavailable() -> str | None:
    """Return why no lab can be built here, or None where one can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    probe = Namespace(f"{new_prefix()}-probe")
    try:
        probe.add()
    except LabError as error:
        return str(error)
    probe.remove_if_present()
    return None


def _born(pid: int) -> int:
    """Return a process's start time in clock ticks since boot, or 0 where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])


def _run(command: Sequence[str], stdin: str | None = None, timeout: float = _PATIENCE_S) -> str:
    try:
        done = subprocess.run(command, input=stdin or "", capture_output=True, text=True, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"{' '.join(command)}: {error}") from error
    if done.returncode:
        raise LabError(f"{' '.join(command)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
