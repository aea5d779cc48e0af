"""Reads what the comparison of handshakes needs, and has challenges pause for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from synguard.enforcer.challenge.program import Program
from synguard.enforcer.challenge.watch import ChallengeAdvice, ChallengeWatch, HandshakeCount
from synguard.errors import SensorError
from synguard.readings import CounterReading
from synguard.sensors.counters import read_counters

ACCEPTED: Final = "PassiveOpens"
TAKEN: Final = "SyncookiesRecv"


class HandshakeWatch:
    """Follows the handshakes of this host while SYNs are challenged."""

    def __init__(self, read: Callable[[float], CounterReading] = read_counters) -> None:
        self._read = read
        self._watch = ChallengeWatch()
        self.advice = ChallengeAdvice.CHALLENGE

    @property
    def reason(self) -> str:
        """Why challenges have stopped; empty while they have not."""
        return self._watch.reason

    def follow(self, program: Program, now: float, *, challenged: bool, many: bool = True) -> bool:
        """Return whether the advice has changed; it stays as it is in a tick in which the counters cannot be read."""
        before = self.advice
        try:
            handshakes = self._count(program, now) if challenged else HandshakeCount(now, 0, 0)
        except SensorError:
            return False
        self.advice = self._watch.follow(handshakes, challenging=challenged, many=many)
        return self.advice is not before

    def _count(self, program: Program, now: float) -> HandshakeCount:
        cookies, counters = program.cookies(), self._read(now).values
        return HandshakeCount(
            now, cookies.answered, counters[ACCEPTED], cookies.returned, counters.get(TAKEN, 0) - cookies.others
        )
