"""How full the places in the kernel are that hold bans, against what the configuration lets them hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from synguard.enforcer.limits import BANS_AT_INTERFACE, PORTS_AT_INTERFACE
from synguard.enforcer.plane import Plane
from synguard.errors import CapacityError
from synguard.model import Ban, KernelBan

WARN_AT: Final = 0.8
"""Share of a ceiling from which it is told of."""


@dataclass(frozen=True, slots=True)
class CapacityLevel:
    """One place, or one budget, and how full it is."""

    place: str
    used: int
    ceiling: int
    key: str
    """The configuration's key of the ceiling."""

    @property
    def share(self) -> float:
        """Used over ceiling."""
        return self.used / self.ceiling

    def __str__(self) -> str:
        return f"{self.place} {self.used:,} of {self.ceiling:,} ({self.key})"

    @property
    def warning(self) -> str:
        """One sentence where it is nearly full, else nothing."""
        if self.share < WARN_AT:
            return ""
        return (
            f"{self.place}: {self.used:,} of at most {self.ceiling:,} ({self.share:.0%}); {ADVICE}, or raise {self.key}"
        )


ADVICE: Final = "ban wider prefixes, or remove bans"


def used(plane: Plane, bans: Iterable[Ban | KernelBan]) -> Counter[str]:
    """Return place → members that these bans take there."""
    return used_by(plane, ((ban, 1) for ban in bans))


def used_by(plane: Plane, shapes: Iterable[tuple[Ban | KernelBan, int]]) -> Counter[str]:
    """Return the same for bans of each of which there are so many."""
    counts: Counter[str] = Counter()
    for ban, count in shapes:
        place, members = plane.place(ban)
        counts[place] += members * count
    return counts


def fullest(plane: Plane, counts: Mapping[str, int]) -> CapacityLevel | None:
    """Return the fullest place; None where nothing is held anywhere."""
    place = max(counts, key=lambda one: counts[one], default=None)
    return None if place is None else CapacityLevel(place, counts[place], plane.ceiling, plane.ceiling_key)


def ensure_capacity(plane: Plane, active_bans: Iterable[Ban], coming: Iterable[Ban]) -> None:
    """Return if the plane may hold what is coming beside what stands.

    Raises:
        CapacityError: It may not; says which place, by how much, and what to do.
    """
    active_bans, coming = [ban for ban in active_bans if not ban.dry_run], [*coming]
    ensure_room(plane, used(plane, active_bans), used(plane, coming))
    if any(ban.at_interface for ban in coming):
        _ensure_at_interface(*([ban for ban in bans if ban.at_interface] for bans in (active_bans, coming)))


def _ensure_at_interface(there: Collection[Ban], more: Collection[Ban]) -> None:
    """Refuse what adds ports or bans where they are too many; what names no other port adds none."""
    ports_there, ports = ({port for ban in bans for port in ban.ports} for bans in (there, more))
    named, bans = len(ports_there | ports), len(there) + len(more)
    if ports - ports_there and named > PORTS_AT_INTERFACE:
        raise CapacityError(
            f"the challenge program would have to tell {named:,} ports apart, and tells at most {PORTS_AT_INTERFACE}; "
            f"ban on all ports, {ADVICE}; nothing was banned"
        )
    if more and bans > BANS_AT_INTERFACE:
        raise CapacityError(
            f"the challenge program would have to carry out {bans:,} bans, and carries out at most "
            f"{BANS_AT_INTERFACE:,}; {ADVICE}; nothing was banned"
        )


def ensure_room(plane: Plane, there: Mapping[str, int], more: Mapping[str, int]) -> None:
    """Return if the plane may hold ``more`` beside what is ``there``, each place → members.

    Raises:
        CapacityError: As for ``ensure_capacity``.
    """
    for place, members in more.items():
        there_now = there.get(place, 0)
        over = there_now + members - plane.ceiling
        if over > 0:
            raise CapacityError(
                f"{place} would hold {there_now + members:,}, {over:,} more than its ceiling of {plane.ceiling:,}; "
                f"{ADVICE}, or raise {plane.ceiling_key} and restart the agent; nothing was banned"
            )
