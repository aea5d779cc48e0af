"""How often one sensor is read, by what a reading costs and whether the last one failed."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Final

from synguard.logs import event
from synguard.status.model import SensorStatus

log: Final = logging.getLogger(__name__)

FIRST_RETRY_S: Final = 0.5
LAST_RETRY_S: Final = 30.0


@dataclass(slots=True)
class SensorPace:
    """When one sensor is next due, so that reading it costs no more than its share of a core."""

    every_s: float
    cpu_share: float
    due_at: float = float("-inf")
    affordable_at: float = float("-inf")
    """When it may be read earlier than due, on demand."""
    status: SensorStatus = field(default_factory=lambda: SensorStatus(ok=True))
    _retry_s: float = FIRST_RETRY_S

    def due(self, now: float, *, asked: bool = False) -> bool:
        """Return whether it is time; where somebody ``asked``, whether its share of a core allows it."""
        return now >= (self.affordable_at if asked else self.due_at)

    def succeeded(self, now: float, cost_s: float, name: str) -> None:
        """Note a reading that cost ``cost_s`` seconds of CPU."""
        self.affordable_at = now + cost_s / self.cpu_share
        self.due_at = max(now + self.every_s, self.affordable_at)
        self._retry_s = FIRST_RETRY_S
        if not self.status.ok:
            log.warning("sensor %s reads again", name, extra=event("sensor", sensor=name, ok=True))
            self.status = SensorStatus(ok=True)

    def failed(self, now: float, text: str, name: str) -> None:
        """Note a failure; it is logged when it begins or changes, not at every try."""
        self.due_at = self.affordable_at = now + self._retry_s
        self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)
        if self.status.ok or self.status.detail != text:
            log.error("sensor %s: %s", name, text, extra=event("sensor", sensor=name, ok=False))
        self.status = SensorStatus(ok=False, detail=text)
