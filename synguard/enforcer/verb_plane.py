"""The plane of a verb: the firewall's and, where an agent has loaded it, the challenge program beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from synguard.enforcer.challenge.filters import any_clsact
from synguard.enforcer.dry_run import DryRunPlane
from synguard.enforcer.plane import BriefPlane, Plane, Stopped
from synguard.enforcer.split_plane import SplitPlane, split_plane
from synguard.errors import NotPermittedError, PlaneError
from synguard.model import Ban

if TYPE_CHECKING:
    from synguard.enforcer.challenge.plane import ChallengePlane


def with_running_program(firewall: Plane, utcnow: Callable[[], datetime], limit_per_second: float) -> SplitPlane:
    """Return the firewall's plane with the challenge program that runs beside it.

    Where none runs, bans that need it are held in memory: they stay in the ledger, for the agent to decide.
    """
    program = _running_program(utcnow, limit_per_second)
    if program is None:
        return split_plane(firewall, DryRunPlane(utcnow), 0)
    return split_plane(firewall, program)


def _running_program(utcnow: Callable[[], datetime], limit_per_second: float) -> ChallengePlane | None:
    if not any_clsact():  # it hangs there or nowhere; what reads its maps takes 0.1 s to import
        return None
    from synguard.enforcer.challenge.plane import ChallengePlane

    program = ChallengePlane(utcnow, lambda: _attached(program), limit_per_second)
    try:
        program.read()
    except (PlaneError, NotPermittedError):  # no libbpf, or no right to ask: then no program of ours was loaded either
        return None
    return None if program.program is None else program


def stopped_by(plane: Plane, bans: Iterable[Ban] | None = None) -> Stopped:
    """Return what a verb's plane stops; of these bans alone, if any are given and that is less work.

    Raises:
        PlaneError: The kernel could not be asked.
    """
    alone = plane.firewall if isinstance(plane, SplitPlane) and isinstance(plane.program, DryRunPlane) else plane
    if not isinstance(alone, BriefPlane):
        return Stopped.of(plane.read())
    return alone.stopped() if bans is None else alone.stopped_of(bans)


def held_at(plane: Plane, ban: Ban) -> str:
    """Return where a verb's plane holds a ban, and the command that shows it there."""
    holder = plane.program if isinstance(plane, SplitPlane) and ban.at_interface else plane
    return f"{holder.place(ban)[0]}, see {holder.show_command}"


def runs_program(plane: Plane) -> bool:
    """Return whether the challenge program runs beside the firewall's plane."""
    from synguard.enforcer.challenge.plane import ChallengePlane

    return isinstance(plane, SplitPlane) and isinstance(plane.program, ChallengePlane)


def _attached(plane: ChallengePlane) -> set[int]:
    """Return where it is attached already: a verb attaches it nowhere else."""
    return set() if plane.program is None else plane.program.attached()
