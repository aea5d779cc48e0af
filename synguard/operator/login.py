"""Which login session a process belongs to, also behind ``sudo``, which hides ``SSH_CONNECTION``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from synguard.addresses import Address, parse_address
from synguard.operator.enablement import Enablement, Login

MOST_ANCESTORS: Final = 64

_PROC: Final = Path("/proc")
_STARTED: Final = 19
"""Field of ``/proc/PID/stat`` after the name's closing bracket: start, in clock ticks since boot."""


def login_here(environ: Mapping[str, str] = os.environ, proc: Path = _PROC) -> Login:
    """Return the login that this process stems from; no SSH connection at the console.

    Its own ``SSH_CONNECTION`` counts, else that of the nearest ancestor that has one and may be read. The session began
    with the oldest ancestor of the same connection.
    """
    ancestors = list(_ancestors(os.getpid(), proc))
    ssh = environ.get("SSH_CONNECTION", "").strip()
    known = [(pid, ssh_connection_of(pid, proc)) for pid in ancestors]
    ssh = ssh or next((found for _, found in known if found), "")
    members = [pid for pid, found in known if found == ssh] or ancestors[:1]
    return Login(ssh=ssh, started_s=min((_started(proc / str(pid)) for pid in members), default=0.0))


def operator_address(ssh: str) -> Address | None:
    """Return the address behind an ``SSH_CONNECTION``, ``192.0.2.7 50022 192.0.2.1 22``; None at the console."""
    try:
        return parse_address(ssh.split()[0])
    except (IndexError, ValueError):
        return None


def why_not_new(order: Enablement, login: Login) -> str:
    """Return why a confirmation from here would not prove that new connections get in; empty if it does."""
    if not order.by.ssh:
        return ""
    if not login.ssh:
        return "enforcement was enabled over SSH and this is no SSH session"
    if login.ssh == order.by.ssh:
        return "this is the very SSH connection that enforcement was enabled from"
    if login.started_s < order.since_s:
        return "this SSH session is older than the enforcement"
    return ""


def _ancestors(pid: int, proc: Path) -> Iterator[int]:
    for _ in range(MOST_ANCESTORS):
        yield pid
        fields = _stat(proc / str(pid))
        pid = int(fields[1]) if len(fields) > 1 else 0
        if pid <= 1:
            return


def _stat(process: Path) -> list[str]:
    """Return the fields behind the name, which may hold spaces and brackets: ``S 812 …``."""
    try:
        return (process / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _started(process: Path) -> float:
    fields = _stat(process)
    return int(fields[_STARTED]) / os.sysconf("SC_CLK_TCK") if len(fields) > _STARTED else 0.0


def ssh_connection_of(pid: int, proc: Path = _PROC) -> str:
    """Return ``SSH_CONNECTION`` of a process; empty where it has none, is gone, or may not be read."""
    try:
        variables = (proc / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    for variable in variables:
        name, _, value = variable.partition(b"=")
        if name == b"SSH_CONNECTION":
            return value.decode("ascii", "replace").strip()
    return ""
