"""When SYN cookies are to be on for an incident, and what to do about the kernel's setting; no I/O.

Forged sources cannot be banned, but a full SYN queue needs no one banned: with ``tcp_syncookies=1`` the kernel answers
further SYNs with cookies and keeps nothing of them, so clients get through whatever the flood.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from synguard.detector.assessment import Assessment
from synguard.incidents import Phase

OFF: Final = 0
"""``tcp_syncookies``: a full SYN queue turns every new client away."""
ON: Final = 1
"""``tcp_syncookies``: cookies once a queue is full; so do 3 to 255."""
ALWAYS: Final = 2
"""``tcp_syncookies``: cookies always, so that listeners accept those that the challenge program made."""

CHECKS: Final = 2
"""Looks that must find a queue overwhelmed; one alone may be a burst that just touched the brim. A tick each."""
FORGOTTEN_S: Final = 1.0
"""A look longer ago than this says nothing any more."""


class CookieStep(StrEnum):
    """What to do about the setting."""

    LEAVE = "leave"
    TURN_ON = "turn on"
    PUT_BACK = "put back"
    YIELD = "yield"
    """Somebody else has changed the value since: his wins, and ours is forgotten."""


def next_step(*, wanted: int, actual: int, held: int | None, yielded: bool) -> CookieStep:
    """Return what to do where the kernel's value is ``actual``.

    ``wanted`` is `OFF` where nothing is, `ON` or `ALWAYS`. ``held`` is what we made of the value and have not put back
    yet; ``yielded`` says that somebody else has changed it during this incident. Only a value that is still what we
    made of it is ever put back.
    """
    if held is not None:
        if actual != held:
            return CookieStep.YIELD
        if wanted == OFF:
            return CookieStep.PUT_BACK
    enough = actual == ALWAYS if wanted == ALWAYS else actual != OFF or wanted == OFF
    return CookieStep.LEAVE if enough or yielded else CookieStep.TURN_ON


def overwhelmed(assessment: Assessment) -> bool:
    """Return whether a SYN queue turns clients away, or would if cookies did not carry it.

    Listeners in other network namespaces do not count: they have a setting of their own, which is not ours to change.
    """
    full = any(listener.overwhelmed and not listener.namespace for listener in assessment.pressure)
    return full or (assessment.flood.overflowing and assessment.flood.dropped_pps > 0)


class CookieNeed:
    """Follows the assessments and says whether cookies are to be on: at once in need, off only at lasting calm."""

    def __init__(self, quiet_for: float) -> None:
        self.quiet_for = quiet_for
        """Seconds without a full queue, a dropped SYN or a cookie sent before the need is over."""
        self.wanted = False
        self._looks = 0
        self._looked_at = self._strained_at = float("-inf")

    def resume(self, now: float) -> None:
        """Take over an incident that an earlier process turned cookies on for: it may be going on."""
        self.wanted, self._strained_at = True, now

    def follow(self, assessment: Assessment, phase: Phase) -> bool:
        """Return whether cookies are wanted after this tick; the same tick twice counts once."""
        at, strained = assessment.at, overwhelmed(assessment)
        if strained and at > self._looked_at:
            self._looks = self._looks + 1 if at - self._looked_at <= FORGOTTEN_S else 1
            self._looked_at = at
        if strained or assessment.flood.overflowing:
            self._strained_at = at
        if strained and self._looks >= CHECKS:
            self.wanted = True
        elif phase is Phase.CALM and at - self._strained_at >= self.quiet_for:
            self.wanted = False
        return self.wanted
