"""Listens to connections as they end, while more handshakes complete than the socket table shows."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from synguard.errors import SensorError
from synguard.logs import event
from synguard.readings import Readings
from synguard.sensors.ended_connections import EndedConnections
from synguard.sensors.port_mask import port_mask
from synguard.socket_table import SocketTable

log: Final = logging.getLogger(__name__)

UNSEEN_PPS: Final = 100.0
"""Handshakes a second that no look at the table has shown, from which on connections are listened to as they end."""
LINGER_S: Final = 10.0
LOOK_S: Final = 6.0
"""Where few sources hold a service, connections are listened to for so long, to see whether it turns others away …"""
LOOK_EVERY_S: Final = 30.0
"""… and again so often: each that ends costs a proxy's backend some microseconds."""
MOST_KEPT: Final = 65_536
"""Ended connections kept for the next look at the socket table."""
AGAIN_S: Final = 60.0
"""Pause after a kernel that does not tell."""


class ShortLived:
    """Adds to readings what ended between two looks at the socket table."""

    def __init__(self, ended: EndedConnections | None) -> None:
        self._ended = ended
        self._until = float("-inf")
        self._not_before = float("-inf")
        self._look_due_at = float("-inf")
        self._kept: list[SocketTable] = []
        self._told = ""

    @property
    def running(self) -> bool:
        """Whether it listens: what ends between two ticks is bounded then, so that they should not be far apart."""
        return self._ended is not None and self._ended.running

    def want(self, unseen_pps: float, now: float, *, held_by_few: bool = False, turns_away: bool = False) -> None:
        """Listen for as long as handshakes complete that the table does not show, or a service turns others away.

        Where few sources hold a service, now and then too.
        """
        if self._ended is None:
            return
        if unseen_pps >= UNSEEN_PPS or turns_away:
            self._until = now + LINGER_S
        if held_by_few and now >= self._look_due_at:
            self._look_due_at, self._until = now + LOOK_EVERY_S, max(self._until, now + LOOK_S)
        try:
            if now >= self._until:
                self.close()
            elif not self._ended.running and now >= self._not_before:
                self._ended.open()
        except SensorError as error:
            self._failed(error, now)

    def add_to(self, readings: Readings, served: frozenset[int]) -> Readings:
        """Return the readings, with connections that ended on the ports ``served`` where the table was read."""
        if self._ended is None or not self.running:
            return readings
        try:
            table = self._ended.read()
        except SensorError as error:
            self._failed(error, readings.at)
            return readings
        if sum(map(len, self._kept)) < MOST_KEPT:
            self._kept.append(table)
        if readings.connections is None:
            return readings
        ended, self._kept = SocketTable.joined(self._kept), []
        return replace(readings, ended=ended.where(port_mask(served)[ended.local_port]))

    def close(self) -> None:
        """Stop listening."""
        if self._ended is not None:
            self._ended.close()
        self._kept = []

    def _failed(self, error: SensorError, now: float) -> None:
        self.close()
        self._not_before = now + AGAIN_S
        if str(error) != self._told:
            log.warning("short connections are not counted: %s", error, extra=event("sensor"))
        self._told = str(error)
