"""What the socket table tells where no agent speaks for it."""

from __future__ import annotations

from typing import Final

from synguard.detector.pressure import pressure_on
from synguard.model import VerdictKind
from synguard.readings import SocketReading
from synguard.report import sockets as counted
from synguard.report.group_by import By
from synguard.sensors.sockets import SocketTables as Sensor
from synguard.socket_table import TcpState
from synguard.status.model import ListenerStatus, TargetStatus
from synguard.top.snapshot import SnapshotSockets

MOST: Final = 20
"""Sources and networks shown, each; as many as an agent reports."""
_CROWD: Final = 2
"""Fewest sources that make a network worth a row beside its sources."""


def read_sockets(sensor: Sensor, now: float) -> SnapshotSockets:
    """Return listeners and who holds half-open sockets, in one read of the kernel's table.

    Raises:
        SensorError: No whole table could be had.
    """
    listeners = sensor.listeners(now)
    table = sensor.tcp({TcpState.SYN_RECV})
    seen = counted.chosen(counted.socket_view(table, None, listeners), By.SOURCE, (), ())
    sources = counted.grouped(seen, By.SOURCE, MOST).rows
    networks = [one for one in counted.grouped(seen, By.PREFIX, MOST).rows if one.sources >= _CROWD]
    loudest = sorted((*sources, *networks), key=lambda group: -group.half_open)
    return SnapshotSockets(
        listeners=tuple(
            ListenerStatus.model_validate(one)
            for one in pressure_on(listeners, SocketReading(now, seen.table, sensor.source))
        ),
        half_open=len(seen.table),
        sources=tuple(_source(group) for group in loudest[:MOST]),
    )


def _source(group: counted.Group) -> TargetStatus:
    crowd = f" from {group.sources} sources" if group.sources > 1 else ""
    return TargetStatus(
        target=group.key,
        kind=VerdictKind.WATCH,
        score=float(group.half_open),
        policy="",
        reason=f"{group.half_open} half-open sockets{crowd}",
    )
