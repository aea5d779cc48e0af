"""How many SYNs at once are an onset: more than a port sees on an ordinary busy day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from synguard.enforcer.challenge.program import ProgramSettings

LEAST: Final = 20
"""SYNs to one port within the program's window of 20 ms, 1,000 a second, that wake the agent."""
MANY_TIMES: Final = 4
"""Times the usual rate of a port: one that is served a thousand connections a second must not wake it all day."""
HALVED_IN_S: Final = 60.0
"""How fast a busy hour is forgotten."""
_WINDOW_S: Final = ProgramSettings().onset_window_s


class OnsetThresholds:
    """Keeps the usual rate of each port, learned while calm, the highest of the last minutes."""

    def __init__(self) -> None:
        self._usual_pps: dict[int, float] = {}
        self._before: Mapping[int, int] = {}
        self._at = 0.0

    def learn(self, syns_by_port: Mapping[int, int], now: float, *, calm: bool) -> None:
        """Take in how many SYNs each port has had so far; a flood's rate is no usual one."""
        passed, before = now - self._at, self._before
        self._at, self._before = now, syns_by_port
        if not before or passed <= 0:
            return
        kept = 0.5 ** (passed / HALVED_IN_S)
        for port, syns in syns_by_port.items():
            rate = max(syns - before.get(port, syns), 0) / passed if calm else 0.0
            self._usual_pps[port] = max(rate, kept * self._usual_pps.get(port, 0.0))
        self._usual_pps = {port: usual for port, usual in self._usual_pps.items() if port in syns_by_port}

    def of(self, ports: Iterable[int]) -> dict[int, int]:
        """Return port → SYNs within the window that are an onset: ``LEAST``, doubled until it is far from usual."""
        return {port: self._of(self._usual_pps.get(port, 0.0)) for port in ports}

    def _of(self, usual_pps: float) -> int:
        threshold = LEAST
        while threshold < MANY_TIMES * usual_pps * _WINDOW_S:
            threshold *= 2
        return threshold
