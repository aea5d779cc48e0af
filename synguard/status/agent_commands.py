"""How the agent of a runtime directory runs, and the commands that start, stop and reload it there."""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from synguard.status.freshness import AGENT_LOCK, agent_runs

UNIT: Final = "synguard.service"

_IN_PATH: Final = ("", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
_UNIT_OF: Final = re.compile(r"/([^/\n]+\.service)(?:/|$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class AgentPlaces:
    """Where it is looked up; tests put others here."""

    in_container: tuple[Path, ...] = (Path("/.dockerenv"), Path("/run/.containerenv"))
    """One of them is there in a container of docker or podman."""
    proc: Path = Path("/proc")
    systemd: Path = Path("/run/systemd/system")
    """There where systemd runs."""
    units: tuple[Path, ...] = (
        Path("/etc/systemd/system"),
        Path("/usr/local/lib/systemd/system"),
        Path("/usr/lib/systemd/system"),
        Path("/lib/systemd/system"),
    )


HERE: Final = AgentPlaces()


@dataclass(frozen=True, slots=True)
class AgentCommands:
    """What an operator types on this host."""

    restart: str
    reload: str


def agent_pid(runtime_dir: Path) -> int | None:
    """Return the pid of the running agent; None where none runs or this user may not ask."""
    if not agent_runs(runtime_dir):
        return None
    try:
        return int((runtime_dir / AGENT_LOCK).read_text("ascii") or 0) or None
    except (OSError, ValueError):
        return None


def commands_for(runtime_dir: Path, places: AgentPlaces = HERE) -> AgentCommands:
    """Return what restarts and reloads the agent as it runs: a unit of systemd, or a process of its own.

    Where none runs, those of the installed unit, else ``synguard run`` as this program was called.
    """
    pid = agent_pid(runtime_dir)
    unit = _unit_of(pid, places) if pid else _installed(places)
    if unit:
        name = unit.removesuffix(".service")
        return AgentCommands(f"systemctl restart {name}", f"systemctl reload {name}")
    run = _run()
    if pid == 1 and any(path.exists() for path in places.in_container):
        return AgentCommands("restart this container", "kill -HUP 1")
    if pid is None:
        return AgentCommands(run, "kill -HUP the agent's process")
    return AgentCommands(f"kill {pid}, then {run}", f"kill -HUP {pid}")


def start_command(places: AgentPlaces = HERE) -> str:
    """Return what starts an agent where none runs: the installed unit, else ``synguard run``."""
    unit = _installed(places)
    return f"systemctl start {unit.removesuffix('.service')}" if unit else _run()


def called() -> str:
    """Return how this program was called: ``synguard``, or by its path where it is in no PATH, as in a clone."""
    program = sys.argv[0]
    named = os.path.basename(program) == "synguard" and os.path.dirname(program) not in _IN_PATH
    return shlex.quote(os.path.abspath(program)) if named else "synguard"


def _run() -> str:
    return f"{called()} run"


def _unit_of(pid: int, places: AgentPlaces) -> str:
    """Return the systemd unit that a process belongs to; empty where it is none of its own or systemd does not run."""
    if not places.systemd.is_dir():
        return ""
    try:
        cgroups = (places.proc / str(pid) / "cgroup").read_text("utf-8")
    except OSError:
        return ""
    units = _UNIT_OF.findall(cgroups)
    # a shell's agent is in user@1000.service or in a session scope: not the agent's own unit
    return units[-1] if units and "synguard" in units[-1] else ""


def _installed(places: AgentPlaces) -> str:
    """Return our unit where systemd runs and has it."""
    there = places.systemd.is_dir() and any((directory / UNIT).exists() for directory in places.units)
    return UNIT if there else ""
