"""Challenges pause while handshakes are compared, and stop where they refuse clients."""

from __future__ import annotations

from typing import Any

from synguard.agent.handshake_watch import ACCEPTED, HandshakeWatch
from synguard.enforcer.challenge.program import Cookies
from synguard.enforcer.challenge.watch import ChallengeAdvice
from synguard.errors import SensorError
from synguard.readings import CounterReading


class BrokenHost:
    """A host on which no challenged client gets in: its counters, and what its program has answered."""

    def __init__(self) -> None:
        self.watch = HandshakeWatch(self.read)
        self.unreadable = False
        self._accepted = self._answered = 0

    def read(self, now: float) -> CounterReading:
        if self.unreadable:
            raise SensorError("/proc/net/snmp cannot be read")
        return CounterReading(now, {ACCEPTED: self._accepted})

    def cookies(self) -> Cookies:
        """Cookies come back, as clients have them, and none is accepted."""
        return Cookies(self._answered, self._answered // 5)

    def runs(self, ticks: int, *, challenged: bool = True) -> list[ChallengeAdvice]:
        """Let twentieths of a second pass; return each change of the advice."""
        changes = []
        program: Any = self
        for number in range(ticks):
            paused = self.watch.advice is ChallengeAdvice.PAUSE
            self._accepted += 10 * paused
            self._answered += 500 * (not paused)
            if self.watch.follow(program, 100 + number / 20, challenged=challenged):
                changes.append(self.watch.advice)
        return changes


def test_challenges_pause_and_then_stop_with_a_reason() -> None:
    host = BrokenHost()
    assert host.runs(20) == [ChallengeAdvice.PAUSE, ChallengeAdvice.STOP]
    assert "challenged clients do not get in" in host.watch.reason


def test_counters_that_cannot_be_read_change_nothing() -> None:
    host = BrokenHost()
    host.unreadable = True
    assert host.runs(40) == []
    assert host.watch.advice is ChallengeAdvice.CHALLENGE


def test_while_no_one_is_challenged_nothing_is_compared() -> None:
    assert BrokenHost().runs(100, challenged=False) == []
