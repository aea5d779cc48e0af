"""Why no one is challenged for now: tried again after a while, and later each time."""

from __future__ import annotations

from synguard.enforcer.challenge.watch import LONGEST_STOP_S, STOPPED_S


class ChallengePause:
    """One reason at a time; after a long time without any the first pause is short again."""

    def __init__(self) -> None:
        self._why = ""
        self._until = float("-inf")
        self._pause_s = STOPPED_S

    def refuse(self, why: str, now: float) -> float:
        """Refuse challenges from now on; return for how many seconds, or 0 where they are refused already."""
        if now < self._until:
            return 0.0
        if now - self._until > LONGEST_STOP_S:
            self._pause_s = STOPPED_S
        pause_s = self._pause_s
        self._why, self._until = why, now + pause_s
        self._pause_s = min(2 * pause_s, LONGEST_STOP_S)
        return pause_s

    def at(self, now: float) -> str:
        """Return why challenges are refused; empty while they may be tried."""
        return self._why if now < self._until else ""
