"""Whether SYNs could be challenged on this host, and what stands in the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from synguard.capabilities import permission_or
from synguard.doctor.findings import Finding, Level, is_exposed
from synguard.enforcer.challenge.handshakes import Entrance
from synguard.enforcer.challenge.neighbours import programs_ahead
from synguard.enforcer.challenge.obstacles import Obstacle
from synguard.enforcer.challenge.preflight import preflight
from synguard.errors import SensorError
from synguard.policy.models import Config
from synguard.readings import Listener
from synguard.sensors.attach_points import AttachPoints, read_attach_points
from synguard.units import format_ports

NAME: Final = "challenges"

Look = Callable[[Iterable[int], Sequence[Entrance]], tuple[Obstacle, ...]]


def challenge_findings(
    config: Config,
    listeners: Iterable[Listener],
    points: Callable[[], AttachPoints] = read_attach_points,
    look: Look = preflight,
    ahead: Callable[[int], Iterable[str]] = programs_ahead,
) -> Iterator[Finding]:
    """Yield a warning for each obstacle where challenges are asked for, and the same as information where not.

    What others have hung ahead of the program is no obstacle, only said.
    """
    off = config.challenge.enabled == "off"
    level, before = (Level.OK, "switched off (challenge.enabled); with them, ") if off else (Level.WARN, "")
    try:
        found = points()
    except SensorError as error:
        yield Finding(NAME, level, f"{before}{error}", permission_or("see dmesg"))
        return
    wanted = config.challenge.interfaces
    points_here = [one for one in found.points if not wanted or one.name in wanted]
    names = [one.name for one in points_here]
    entrances = [Entrance(family, name, found.addresses) for name in names for family in (4, 6)]
    obstacles = look(sorted({one.port for one in listeners if is_exposed(one)}), entrances)
    for obstacle in obstacles:
        yield Finding(NAME, level, f"{before}{_whose(obstacle)}: {obstacle.text}", obstacle.fix)
    for name, why in found.left_out:
        yield Finding(NAME, level, f"{before}clients that come in by {name} are not challenged: {why}")
    for point in points_here:
        for other in ahead(point.index):
            text = (
                f"{other} at {point.name} sees packets first: SYNs that it drops or sends elsewhere are not challenged"
            )
            fix = f"nothing to do where it lets SYNs to this host pass; see bpftool net show dev {point.name}"
            yield Finding(NAME, Level.OK, f"{before}{text}", fix)
    if not names:
        yield Finding(NAME, level, f"{before}no interface is known that clients come in by", "set challenge.interfaces")
    elif not any(one.ports is None for one in obstacles):
        verb = "could be" if off else "can be"
        reason = (
            f"{'switched off (challenge.enabled); ' if off else ''}SYNs {verb} challenged at {', '.join(names[:8])}"
        )
        yield Finding(NAME, Level.OK, reason)


def _whose(obstacle: Obstacle) -> str:
    if obstacle.ports is None:
        return "no client can be challenged"
    return f"clients of port {format_ports(obstacle.ports)} are not challenged"
