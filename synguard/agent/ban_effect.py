"""Whether bans stop what they should: sockets that they made useless are freed, and leaks are found."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final

from synguard.addresses import Network
from synguard.agent.blocked_sockets import Leftovers, blocked_rows, dead_connections, excess_rows
from synguard.agent.enforcement import Enforcement
from synguard.agent.leak_monitor import LeakMonitor
from synguard.agent.sensor_scheduler import HostSensors
from synguard.decision.bans import ActiveBans
from synguard.decision.objections import Excess
from synguard.enforcer.nftables.nft import has_flowtables
from synguard.enforcer.socket_destroy import destroy_sockets
from synguard.errors import PlaneError, SensorError
from synguard.ledger import Ledger
from synguard.logs import event
from synguard.readings import Readings
from synguard.socket_table import SocketTable

log: Final = logging.getLogger(__name__)

MOST_NAMED: Final = 256
"""Network namespaces remembered as refusing to free sockets."""


class BanEffect:
    """Looks after what enforced bans do, tick by tick; made anew whenever the mode changes."""

    def __init__(self, ledger: Ledger, enforcement: Enforcement, sensors: HostSensors) -> None:
        self._enforcement = enforcement
        self._sensors = sensors
        self.leak_monitor: Final = LeakMonitor(ledger.record_action, enforcement.plane.show_command, has_flowtables)
        self._cannot_destroy: set[str] = set()
        self._leftovers = Leftovers()

    def follow(self, readings: Readings, active_bans: ActiveBans, now: float, utc: datetime) -> None:
        """Free what bans made useless, and look whether banned targets still arrive."""
        through, ban_filter = self._enforcement.let_through, active_bans.ban_filter(utc)
        if self._enforcement.bans and readings.half_open is not None:
            for namespace, table in readings.half_open.parts():
                rows = blocked_rows(table, ban_filter, through)
                self.leak_monitor.observe(namespace, rows, "half-open", active_bans, now, utc)
                self._free(rows, namespace)
                if not namespace:
                    self._free(self._left_over(table, readings, active_bans, now), namespace)
        if self._enforcement.bans and readings.connections is not None:
            for namespace, table in readings.connections.parts():
                rows = blocked_rows(table, ban_filter, through)
                self.leak_monitor.observe(namespace, rows, "connections", active_bans, now, utc)
                self._free(dead_connections(table, ban_filter, self._enforcement.allowed), namespace)
        self.leak_monitor.read(self._enforcement.outcome, self._enforcement.bans, now, utc)

    def _left_over(self, table: SocketTable, readings: Readings, active_bans: ActiveBans, now: float) -> SocketTable:
        counters = readings.counters.values if readings.counters is not None else {}
        challenges, allowed = active_bans.challenge_bans, self._enforcement.allowed
        return self._leftovers.of(table, readings.listeners, counters, challenges, allowed, now)

    def trim(self, readings: Readings, excess: Collection[Excess], containers: Iterable[Network]) -> None:
        """Close what is held beyond a limit by who is not cut off; other connections stay."""
        if readings.connections is None or not excess:
            return
        for namespace, table in readings.connections.parts():
            self._free(excess_rows(table, excess, containers, self._enforcement.allowed), namespace)

    def _free(self, useless: SocketTable, namespace: str) -> None:
        """Free sockets of banned sources, so that their places in queue and service are there for others at once.

        A kernel that cannot is reported once; half-open sockets then time out by themselves, and connections when the
        service gives them up.
        """
        opener = self._sensors.opener(namespace)
        if opener is None or self._enforcement.problem or namespace in self._cannot_destroy or not len(useless):
            return
        try:
            destroy_sockets(self._sensors.as_there(namespace, useless), opener)
        except (PlaneError, SensorError) as error:
            if len(self._cannot_destroy) < MOST_NAMED:
                self._cannot_destroy.add(namespace)
            log.warning("%s; they will time out by themselves", error, extra=event("eviction"))
