"""When the next tick comes: by the cadence, as dear as the config allows, later while nothing stirs or changes."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Final

from synguard.agent.challenge_steps import ChallengeSteps
from synguard.agent.resource_usage import ResourceUsage
from synguard.agent.sensing import Sensing
from synguard.agent.steady_attack import SteadyAttack
from synguard.clock import Clock
from synguard.decision.engine import Decision
from synguard.policy.models import Cadence

REST_S: Final = 1.01
"""Between two ticks of a calm host on which nothing stirs: what is due once a second is due then."""

SOON_S: Final = 0.015
"""A look at a calm host is left out where the tick comes so soon after, and looks itself."""

LONGEST_REST_S: Final = 5.0
"""The longest wait after a dear tick: one that took half a minute would be paid for with two without another."""

STEADY: Final = 1.5
"""Between two ticks of an attack that stands as it stood, as many times what a calm host waits between two looks."""

GATHER_S: Final = 0.01
"""How long SYNs are counted by source before the first tick of an onset, which would have nothing to judge without: a
queue of 128 is full by then, too."""
HURRIED: Final = 2
"""Ticks at twice the pace of an attack after that."""


class Pace:
    """Waits between ticks, and knows what they cost."""

    def __init__(self, clock: Clock, sensing: Sensing, challenges: ChallengeSteps) -> None:
        self.clock: Final = clock
        self._sensing = sensing
        self._challenges = challenges
        self.usage = ResourceUsage(clock.monotonic())
        self._steady = SteadyAttack(sensing.sensors.counters)
        self._hurried = 0
        self.stopping = False
        """Set to end the loop after the present tick."""
        self.begin(None)

    def begin(self, for_s: float | None) -> None:
        """Begin to tick, for so many seconds or without an end."""
        self._ends_at = float("inf") if for_s is None else self.clock.monotonic() + for_s
        self._next_at = float("inf")

    def begin_tick(self) -> bool:
        """Return whether there is another tick, which begins now."""
        self._began, self._cpu_s, self._sampled = self.clock.monotonic(), time.thread_time(), self._sensing.sampling
        return not self.stopping and self._began < self._ends_at

    def decided(
        self, decision: Decision, now: float, *, rising: Callable[[], bool], nearing: Callable[[], bool]
    ) -> None:
        """Learn whether anything changes.

        ``rising`` says whether bans are about to come; ``nearing``, whether somebody nears one, be it for chance.
        """
        watched = self._sensing.listens or self._challenges.pausing or decision.wants_proof
        self._steady.follow(decision, now, changing=rising(), watched=watched or nearing())

    def wait(self, cadence: Cadence, *, calm: bool, idle: bool) -> None:
        """Wait for the next tick; ``idle`` says that nothing is left to do before something stirs."""
        self.usage.ticked(self.clock.monotonic() - self._began, self._began - self._next_at)
        cost = time.thread_time() - self._cpu_s
        sampling, alerted = self._sensing.sampling, self._sensing.scheduler.alerted(self._began)
        every = cadence.calm if calm and not (sampling or alerted) else cadence.attack
        paid_s = min(cost / cadence.cpu_share, cost + LONGEST_REST_S)
        if self._hurried:
            paid_s = 0.0 if self._hurried == HURRIED else paid_s  # the first is the dearest, and may be one too few
            every, self._hurried = every / 2, self._hurried - 1
        self._next_at = min(self._began + max(every, paid_s), self._ends_at)
        if alerted and sampling and not self._sampled:
            self._next_at = self._began  # what was counted since the onset waits to be judged
        busy = alerted or self._sensing.scheduler.failing or self._sensing.record is not None
        stirred, look_every, rest_s, soon_s = self._stirred, cadence.calm, 0.0, 0.0
        if self._sensing.sensors.glance is not None and not busy:
            if calm and idle and not sampling:
                rest_s, soon_s = REST_S, SOON_S
            elif self._steady.holds:
                stirred, look_every, rest_s = self._steady.surged, cadence.attack, min(STEADY * cadence.calm, REST_S)
        rested_until = min(max(self._began + rest_s, self._next_at), self._ends_at)
        while not (self._sleep() or self.stopping or self._next_at >= rested_until):
            now = self.clock.monotonic()
            if stirred(now):
                break
            self._next_at = now + look_every if now + look_every < rested_until - soon_s else rested_until

    def _stirred(self, now: float) -> bool:
        glance = self._sensing.sensors.glance
        if glance is None or glance.stirred(now):
            return True
        self._sensing.detector.rested(now)
        return False

    def _sleep(self) -> bool:
        """Wait until the next tick; return whether SYNs became many meanwhile: by source they count from then on."""
        seconds = self._next_at - self.clock.monotonic()
        onset, program = self._challenges.onset_fd, self._challenges.program
        if onset is None or program is None:
            return self.clock.wait(seconds)
        woken = self.clock.wait(seconds, onset)
        if woken and select.select([onset], [], [], 0.0)[0]:
            program.woken()
            self._sensing.scheduler.alert(self.clock.monotonic())
            self._hurried = HURRIED
            self.clock.wait(GATHER_S)
        return woken
