"""Whether anything has come into the network namespaces behind this one: a glance that costs 30 µs for each."""

from __future__ import annotations

from typing import Final

from synguard.errors import SensorError
from synguard.sensors.containers import Containers

FEW_SEGMENTS: Final = 8
"""Segments between two glances, a fifth of a second, that are no flood."""


class NamespaceGlance:
    """Compares how many segments TCP was handed in each namespace with the last glance."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._arrived: dict[str, int] = {}

    def stirs(self) -> bool:
        """Return whether many segments have come into one, or into one that is new or cannot be asked."""
        around, before = self._containers, self._arrived
        try:
            self._arrived = {reader.label: reader.arrived() for reader in around.readers}
        except SensorError:
            return True
        return bool(around.unread or around.bridged) or any(
            label not in before or arrived - before[label] > FEW_SEGMENTS for label, arrived in self._arrived.items()
        )
