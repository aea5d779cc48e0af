"""Whether this host can protect itself: the kernel's side."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from synguard.capabilities import how_to_get, missing_capabilities, permission_or
from synguard.doctor.findings import Finding, Level, is_exposed, ports_text
from synguard.doctor.queue_checks import longer_queue, queue_findings
from synguard.errors import NotPermittedError, PlaneError, PlaneUnavailableError, SensorError
from synguard.policy.models import Config
from synguard.programs import find_tool, run_tool
from synguard.readings import Listener
from synguard.status.agent_commands import called

SYSCTLS: Final = Path("/proc/sys/net")

SMALL_BACKLOG: Final = 256
"""A SYN queue this long fills in 5 ms at 50,000 SYN/s; most servers ask for 511 and more."""

_TOOL_WAIT_S: Final = 5.0


def kernel_findings(config: Config, listeners: Iterable[Listener] = ()) -> Iterator[Finding]:
    """Yield what the kernel allows and how it is set, against what the listeners need."""
    yield _permissions()
    yield from _plane(config)
    yield from queue_findings(config, [one for one in listeners if is_exposed(one)], SYSCTLS)


def read_listeners(now: float) -> tuple[tuple[Listener, ...], Finding]:
    """Return who listens, and what is to be said of how sockets are read."""
    from synguard.enforcer.iptables.xtables import loading
    from synguard.sensors.sockets import SocketTables

    try:
        with closing(SocketTables()) as sensor:
            listeners, source = sensor.listeners(now), sensor.source
    except SensorError as error:
        return (), Finding("sockets", Level.BAD, str(error), permission_or("see dmesg"))
    if source == "sock_diag":
        return listeners, Finding("sockets", Level.OK, f"read by sock_diag, {len(listeners)} listeners")
    reason = f"read by {source}, which costs 15 times more: sock_diag is refused here"
    return listeners, Finding("sockets", Level.WARN, reason, loading("tcp_diag inet_diag", "else psutil is used"))


def listener_findings(listeners: Iterable[Listener]) -> Iterator[Finding]:
    """Yield what is to be said of each listener that others can reach."""
    exposed = [one for one in listeners if is_exposed(one)]
    yield Finding("exposed ports", Level.OK, ports_text(one.port for one in exposed) or "none")
    short: dict[tuple[str, int], list[Listener]] = {}
    for one in exposed:
        if one.backlog < SMALL_BACKLOG:
            short.setdefault((one.process, one.backlog), []).append(one)
    for (process, backlog), alike in short.items():
        ports = ports_text(one.port for one in alike)
        where = f"at {alike[0].address}" if len(alike) == 1 else f"with {len(alike):,} listeners"
        yield Finding(
            f"backlog of port {ports}",
            Level.WARN,
            f"{process or 'the process'} {where} takes {backlog} half-open connections: a small flood fills that",
            longer_queue(alike[0]),
        )


def _permissions() -> Finding:
    missing = missing_capabilities()
    if missing:
        reason = f"this process lacks {' and '.join(missing)}: it cannot change firewall rules"
        return Finding("permissions", Level.BAD, reason, _permit())
    return Finding("permissions", Level.OK, "CAP_NET_ADMIN and CAP_NET_RAW are there")


def _plane(config: Config) -> Iterator[Finding]:
    from synguard.enforcer.choose import choose_plane

    try:
        plane = choose_plane(config)
        actual = plane.read()
    except NotPermittedError:
        yield Finding("plane", Level.WARN, "not known without permission", _permit())
        return
    except PlaneUnavailableError as error:
        yield Finding("plane", Level.BAD, str(error), _plane_fix(config))
        return
    except PlaneError as error:
        yield Finding("plane", Level.BAD, str(error), "see dmesg; synguard flush removes what is left of our rules")
        return
    yield Finding("plane", Level.OK, f"{plane.name} works; {plane.show_command} shows our rules")
    for stranger in actual.foreign[:3]:
        yield Finding("rules", Level.WARN, f"not ours, but in our chains: {stranger}", "move it to a chain of your own")
    yield _visibility(plane.name, plane.show_command)
    if plane.name.startswith("iptables"):
        yield Finding("ipset", Level.OK, "works")


def _permit() -> str:
    """Return what makes the doctor see more."""
    return how_to_get(missing_capabilities()) if os.geteuid() == 0 else f"sudo {called()} doctor"


def _plane_fix(config: Config) -> str:
    """Return what gives this host a plane: another one if the config names one, else the tools of all."""
    if config.plane != "auto":
        return 'set plane = "auto", which takes what works here'
    return "apt-get install nftables; or iptables and ipset, where the kernel has legacy xtables"


def _visibility(plane: str, show_command: str) -> Finding:
    """Say whether ``iptables -L`` shows our rules: on most hosts it speaks to nf_tables, and ours are elsewhere."""
    version = _output("iptables", "--version")
    if not plane.startswith("iptables"):
        return Finding("visibility", Level.OK, f"our rules are in {plane}; `iptables -L` never shows them")
    if "nf_tables" in version:
        reason = "`iptables -L` shows nf_tables here, our rules are in legacy xtables; both are in force"
        return Finding("visibility", Level.WARN, reason, f"{show_command}, or iptables-legacy -L -n -v")
    if not version:
        return Finding(
            "visibility", Level.WARN, "there is no iptables command to look with", "apt-get install iptables"
        )
    return Finding("visibility", Level.OK, "`iptables -L` shows the tables that hold our rules")


def _output(tool: str, *arguments: str) -> str:
    """Return what a tool prints, or nothing where there is no such tool or it fails."""
    path = find_tool(tool)
    if path is None:
        return ""
    try:
        return run_tool([path, *arguments], _TOOL_WAIT_S).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
