"""The plane of a verb: the firewall's and, where an agent has loaded it, the challenge program beside it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from synguard.enforcer.challenge.plane import ChallengePlane
from synguard.enforcer.dry_run import DryRunPlane
from synguard.enforcer.plane import Plane
from synguard.enforcer.split_plane import SplitPlane, split_plane
from synguard.errors import NotPermittedError, PlaneError


def with_running_program(firewall: Plane, utcnow: Callable[[], datetime], limit_per_second: float) -> SplitPlane:
    """Return the firewall's plane with the challenge program that runs beside it.

    Where none runs, bans that need it are held in memory: they stay in the ledger, for the agent to decide.
    """
    program = ChallengePlane(utcnow, lambda: _attached(program), limit_per_second)
    try:
        program.read()
    except (PlaneError, NotPermittedError):  # no libbpf, or no right to ask: then no program of ours was loaded either
        return split_plane(firewall, DryRunPlane(utcnow), 0)
    if program.program is None:
        return split_plane(firewall, DryRunPlane(utcnow), 0)
    return split_plane(firewall, program)


def runs_program(plane: Plane) -> bool:
    """Return whether the challenge program runs beside the firewall's plane."""
    return isinstance(plane, SplitPlane) and isinstance(plane.program, ChallengePlane)


def _attached(plane: ChallengePlane) -> set[int]:
    """Return where it is attached already: a verb attaches it nowhere else."""
    return set() if plane.program is None else plane.program.attached()
