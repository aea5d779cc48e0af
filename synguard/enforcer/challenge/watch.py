"""Whether challenged clients get in: handshakes accepted while SYNs are answered here, and while they are not; no I/O.

Where the cookies that challenged clients bring back are accepted by the listeners, clients get in, and there is nothing
to compare. Where they are not, or none comes back, that proves nothing: forged sources do not ACK, and anyone can send
bad ACKs. The evidence is handshakes that the listeners accept (``PassiveOpens``), compared with themselves: challenges
pause for a moment, in which listeners answer with their own cookies. Where challenges refuse clients, more get in then.
Where no cookie comes back at all, a sample of the SYNs tells beforehand whether any client is there to be refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SETTLES_S: Final = 0.1
"""After challenges begin: handshakes of SYNs from before still end."""
WITH_S: Final = 0.45
"""Handshakes are counted so long while challenges go on."""
SOME: Final = 2
"""Cookies that come back, from which on they are compared with those that were accepted; one may be under way."""
SILENT_S: Final = 1.2
"""So long where none come back, before a sample of the SYNs passes to see whether clients are there at all."""
SAMPLE_ONE_IN: Final = 8
SAMPLE_S: Final = 0.3
SAMPLED_AGAIN_S: Final = 4.0
"""From a sample in which no client was seen to the next comparison, at least."""
PAUSE_S: Final = 0.3
WITHOUT_S: Final = 0.35
"""Handshakes are counted so long from the begin of the pause on; at its end, ACKs are still on their way."""
FIRST_AGAIN_S: Final = 2.0
SELDOM_S: Final = 32.0
"""From the end of one comparison to the next: the first, and doubled with each pause up to the second.

So seldom, too, where no cookie comes back and that is no wonder: clients got in before, or only single sources are
challenged."""
STOPPED_S: Final = 30.0
LONGEST_STOP_S: Final = 960.0
"""How long no one is challenged after a refusal: the first, and doubled each time up to the second."""
CHANCE: Final = 0.001
"""A difference that chance alone makes more often than this is none."""
_REMEMBERED: Final = 400
"""Readings, 20 s of an attack, that say how many connections clients open at once."""
_EXACT: Final = 400
"""Up to so many handshakes the chance is summed up, beyond it is taken from the normal distribution."""


class ChallengeAdvice(StrEnum):
    """What to do with challenges until the next reading."""

    CHALLENGE = "challenge"
    SAMPLE = "sample"
    """Let one SYN in `SAMPLE_ONE_IN` through to the listeners."""
    PAUSE = "pause"
    """Let all SYNs through to the listeners, which answer with cookies (``tcp_syncookies = 2``)."""
    STOP = "stop"
    """Challenged clients do not get in."""


class _Phase(StrEnum):
    SETTLES = "settles"
    WITH = "with challenges"
    SAMPLE = "with a sample"
    WITHOUT = "without"
    RESTS = "rests"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class HandshakeCount:
    """Two counters at one time."""

    at: float
    answered: int
    """SYNs that the challenge program has answered."""
    accepted: int
    """``Tcp: PassiveOpens``."""
    returned: int = 0
    """Cookies that challenged sources brought back to a listener's port,"""
    taken: int = 0
    """and of them, those that listeners accepted."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Handshakes that were accepted in some seconds, and how unevenly they came."""

    number: int = 0
    seconds: float = 0.0
    spread: float = 0.0
    """The sum of squared differences between readings and their mean, over the mean; about ``freedom`` for clients
    that come one by one, six times as much where each comes with six connections at once."""
    freedom: int = 0

    @classmethod
    def of(cls, readings: Sequence[int], seconds: float) -> Accepted:
        """Return what some readings one after another come to."""
        number = sum(readings)
        if not number:
            return cls(0, seconds)
        mean = number / len(readings)
        return cls(number, seconds, sum((one - mean) ** 2 for one in readings) / mean, len(readings) - 1)

    @property
    def at_once(self) -> float:
        """Return how many connections a client opens at once, at least: 1.0 where readings are too few to tell."""
        if not self.freedom:
            return 1.0
        return max(1.0, self.spread / self.freedom * (1 - math.sqrt(2 / self.freedom)))

    def no_older(self, freedom: int) -> Accepted:
        """Return it with less weight where it has more than so much freedom."""
        share = min(1.0, freedom / max(self.freedom, 1))
        return Accepted(self.number, self.seconds, self.spread * share, round(self.freedom * share))

    def __add__(self, other: Accepted) -> Accepted:
        return Accepted(
            self.number + other.number,
            self.seconds + other.seconds,
            self.spread + other.spread,
            self.freedom + other.freedom,
        )


_NOTHING: Final = Accepted(), Accepted()


class ChallengeWatch:  # wide: a small state machine whose states are read side by side
    """Sees that cookies are accepted; where that is in doubt, compares handshakes with challenges and without."""

    def __init__(self) -> None:
        self.reason = ""
        """Why challenges have stopped; empty while they have not."""
        self._phase = _Phase.RESTS
        self._since = HandshakeCount(float("-inf"), 0, 0)
        self._readings: list[int] = []
        """Handshakes since the reading before, of this phase."""
        self._last = self._since
        self._with = Accepted()
        self._before = _NOTHING
        self._earlier = Accepted()
        """How unevenly handshakes came in the phases before this one."""
        self._again_s, self._stop_s = FIRST_AGAIN_S, STOPPED_S
        self._silent_s = SILENT_S
        self._get_in = self._active = False
        self._in_doubt = False
        """Whether a sample showed clients, and none has got in through a challenge since."""

    def follow(self, now: HandshakeCount, *, challenging: bool, many: bool = True) -> ChallengeAdvice:
        """Return what to do until the next call, within 0.1 s.

        ``challenging`` is whether any target is challenged; ``many``, whether one of them is more than one source.
        """
        if not challenging:
            return self._calm(now)
        self._silent_s = SILENT_S if many and not self._get_in else SELDOM_S
        if not self._active:
            self._active = True
            if self._phase is not _Phase.STOPPED:
                self._enter(_Phase.SETTLES, now)
        self._readings.append(now.accepted - self._last.accepted)
        self._last = now
        return _MOVES[self._phase](self, now)

    def _calm(self, now: HandshakeCount) -> ChallengeAdvice:
        if self._active and self._phase is not _Phase.STOPPED:
            self._again_s, self._before = FIRST_AGAIN_S, _NOTHING
        self._active = self._get_in = self._in_doubt = False
        return self._stopped(now) if self._phase is _Phase.STOPPED else ChallengeAdvice.CHALLENGE

    def _settles(self, now: HandshakeCount) -> ChallengeAdvice:
        if now.at - self._since.at >= SETTLES_S:
            self._enter(_Phase.WITH, now)
        return ChallengeAdvice.CHALLENGE

    def _with_challenges(self, now: HandshakeCount) -> ChallengeAdvice:
        returned, taken = now.returned - self._since.returned, now.taken - self._since.taken
        if now.at - self._since.at < (WITH_S if returned >= SOME else self._silent_s):
            return ChallengeAdvice.CHALLENGE
        if returned >= SOME and taken >= returned / 2:
            self._get_in, self._in_doubt = True, False
            self._enter(_Phase.WITH, now)
            return ChallengeAdvice.CHALLENGE
        if now.answered == self._since.answered:  # nothing was answered: nothing to compare
            self._enter(_Phase.WITH, now)
            return ChallengeAdvice.CHALLENGE
        self._with = Accepted.of(self._readings, now.at - self._since.at)
        if returned < SOME and not self._in_doubt:
            self._enter(_Phase.SAMPLE, now)
            return ChallengeAdvice.SAMPLE
        self._enter(_Phase.WITHOUT, now)
        return ChallengeAdvice.PAUSE

    def _sample(self, now: HandshakeCount) -> ChallengeAdvice:
        lasted = now.at - self._since.at
        if now.returned > self._since.returned:  # answers of the listeners arrive; those from here seem not to
            self._in_doubt = True
            self._enter(_Phase.WITHOUT, now)
            return ChallengeAdvice.PAUSE
        if lasted < WITHOUT_S:
            return ChallengeAdvice.SAMPLE if lasted < SAMPLE_S else ChallengeAdvice.CHALLENGE
        self._again_s = max(self._again_s, SAMPLED_AGAIN_S)
        self._enter(_Phase.RESTS, now)
        return ChallengeAdvice.CHALLENGE

    def _without(self, now: HandshakeCount) -> ChallengeAdvice:
        lasted = now.at - self._since.at
        latest = self._with, Accepted.of(self._readings, max(lasted, WITHOUT_S))
        together = latest[0] + self._before[0], latest[1] + self._before[1]
        at_once = (self._earlier + latest[1]).at_once
        if is_refusal(*latest, at_once) or is_refusal(*together, at_once):
            return self._stop(now)
        if lasted < WITHOUT_S:
            return ChallengeAdvice.PAUSE if lasted < PAUSE_S else ChallengeAdvice.CHALLENGE
        self._before = together
        self._enter(_Phase.RESTS, now)
        return ChallengeAdvice.CHALLENGE

    def _stop(self, now: HandshakeCount) -> ChallengeAdvice:
        count = now.accepted - self._since.accepted
        self._get_in = False
        few, seconds = self._with.number, self._with.seconds
        self.reason = (
            f"challenged clients do not get in: {few} handshakes were accepted in {seconds:.1f} s of challenges, "
            f"and {count} in {now.at - self._since.at:.1f} s after they paused; see synguard doctor"
        )
        self._enter(_Phase.STOPPED, now)
        return ChallengeAdvice.STOP

    def _stopped(self, now: HandshakeCount) -> ChallengeAdvice:
        if now.at - self._since.at < self._stop_s:
            return ChallengeAdvice.STOP
        self._stop_s = min(2 * self._stop_s, LONGEST_STOP_S)
        self.reason, self._before, self._in_doubt = "", _NOTHING, False
        self._enter(_Phase.SETTLES, now)
        return ChallengeAdvice.CHALLENGE

    def _rests(self, now: HandshakeCount) -> ChallengeAdvice:
        if now.at - self._since.at >= self._again_s:
            self._again_s = min(2 * self._again_s, SELDOM_S)
            self._enter(_Phase.WITH, now)
        return ChallengeAdvice.CHALLENGE

    def _enter(self, phase: _Phase, now: HandshakeCount) -> None:
        self._earlier = (self._earlier + Accepted.of(self._readings, now.at - self._since.at)).no_older(_REMEMBERED)
        self._phase, self._since, self._last, self._readings = phase, now, now, []


_MOVES: Final = {
    _Phase.SETTLES: ChallengeWatch._settles,
    _Phase.WITH: ChallengeWatch._with_challenges,
    _Phase.SAMPLE: ChallengeWatch._sample,
    _Phase.WITHOUT: ChallengeWatch._without,
    _Phase.RESTS: ChallengeWatch._rests,
    _Phase.STOPPED: ChallengeWatch._stopped,
}


def is_refusal(challenged: Accepted, paused: Accepted, at_once: float = 1.0) -> bool:
    """Return whether handshakes with challenges are less than half as many as without, in the same time.

    And whether chance alone would make such a difference less often than `CHANCE`. Connections that come ``at_once``
    count as one: a page opens six, and whether it falls into a pause is one chance.
    """
    if challenged.number / challenged.seconds >= paused.number / paused.seconds / 2:
        return False
    few, many = round(challenged.number / at_once), round(paused.number / at_once)
    return chance_of(few, few + many, challenged.seconds / (challenged.seconds + paused.seconds)) < CHANCE


def chance_of(at_most: int, among: int, share: float) -> float:
    """Return how likely at most so many of ``among`` fall into a share of the time: the binomial distribution."""
    if among <= _EXACT:
        return sum(math.comb(among, k) * share**k * (1 - share) ** (among - k) for k in range(at_most + 1))
    spread = math.sqrt(among * share * (1 - share))
    return 0.5 * math.erfc((among * share - at_most - 0.5) / spread / math.sqrt(2))
