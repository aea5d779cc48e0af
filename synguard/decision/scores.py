"""Accumulated excess per target and signal: a non-parametric CUSUM.

``score ← max(0, score + 100 · (x - limit) · dt / (limit · hold))``: twice the limit is acted on after ``hold``, ten
times after a ninth of it, and below the limit the score drains.

Source: Wang, Zhang & Shin, "Detecting SYN flooding attacks", INFOCOM 2002, whose ``y ← max(0, y + X - a)`` this is
with ``a = limit`` and the threshold ``N = limit · hold``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from synguard.addresses import Network
from synguard.detector.assessment import Observation
from synguard.model import Evidence, Signal

ACT: Final = 100.0
MOST: Final = 300.0
"""A score stops growing here, so that it drains in at most three holds once the excess has gone."""
TRACKED: Final = 16_384
"""Targets with a score; past it the lowest are forgotten, whatever arrives."""
QUICK: Final = 0.25
"""Share of its hold after which somebody is challenged who floods a full queue: that refuses no one."""
SIGMAS: Final = 2.0
"""Standard errors by which a sampled rate must pass its limit before anybody is acted on."""


class ScoreKey(NamedTuple):
    """What a score belongs to."""

    policy: str
    target: Network
    signal: Signal


@dataclass(slots=True)
class Score:
    """The standing of one signal of one target."""

    latest: Observation
    points: float = 0.0
    seconds: float = 0.0
    """Time since the score left zero."""
    amount: float = 0.0
    """Integral of the value over ``seconds``."""
    variance: float = 0.0
    """Of ``amount``."""

    @property
    def mean(self) -> float:
        """The value's mean since the score left zero."""
        return self.amount / self.seconds if self.seconds else self.latest.value

    @property
    def error(self) -> float:
        """Half the width of the 95 % interval around ``mean``."""
        return SIGMAS * math.sqrt(self.variance) / self.seconds if self.seconds else 0.0

    @property
    def offenders(self) -> bool:
        """Whether the excess calls for action and is no sampling noise."""
        return self.points >= ACT and self.certain

    @property
    def certain(self) -> bool:
        """Whether the value is over its limit for certain."""
        return self.mean - self.error > self.latest.limit

    @property
    def evidence(self) -> Evidence:
        """What the score rests on: sampled rates as their mean, counts as last seen."""
        last = self.latest
        value = self.mean if self.variance else last.value
        return Evidence(last.signal, value, last.limit, last.ports, last.sources, self.error)

    def advance(self, observation: Observation, dt: float, hold_s: float) -> None:
        """Take in one measurement that speaks for the last ``dt`` seconds."""
        gain = ACT * (observation.value - observation.limit) * dt / (observation.limit * hold_s)
        self.points = min(max(self.points + gain, 0.0), MOST)
        self.latest = observation
        if self.points == 0.0:
            self.seconds = self.amount = self.variance = 0.0
        else:
            self.seconds += dt
            self.amount += observation.value * dt
            self.variance += observation.variance * dt * dt

    def drain(self, dt: float, hold_s: float) -> None:
        """Take in that the target was not seen near its limit during ``dt`` seconds."""
        self.points = max(self.points - ACT * dt / hold_s, 0.0)
        self.seconds += dt


@dataclass(slots=True)
class Scores:
    """All scores above zero, in bounded memory."""

    holds: Mapping[str, Mapping[Signal, float]]
    """Policy → signal → hold in seconds."""
    _scores: dict[ScoreKey, Score] = field(default_factory=dict)

    def advance(
        self,
        observations: Iterable[Observation],
        elapsed: Mapping[Signal, float],
        quick: Callable[[Observation], bool] = lambda _: False,
    ) -> None:
        """Bring every score of the signals in ``elapsed`` (signal → seconds) up to date.

        One reading never speaks for longer than its hold, so that a stalled agent does not act on one look. The
        hold of what is ``quick`` is `QUICK` of the policy's.
        """
        seen = set()
        for observation in observations:
            key = ScoreKey(observation.policy, observation.target, observation.signal)
            seen.add(key)
            score = self._scores.get(key)
            if score is None:
                if observation.value <= observation.limit:
                    continue
                score = self._scores[key] = Score(observation)
            hold_s = self.holds[key.policy][key.signal] * (QUICK if quick(observation) else 1.0)
            score.advance(observation, min(elapsed[key.signal], hold_s), hold_s)
        self._drain_unseen(seen, elapsed)
        self._forget_lowest()

    def offenders(self) -> Iterator[tuple[ScoreKey, Score]]:
        """Yield the scores that call for action."""
        return ((key, score) for key, score in self._scores.items() if score.offenders)

    def rising(self) -> Iterator[tuple[ScoreKey, Score]]:
        """Yield the scores of those who are over a limit for certain and no offenders yet."""
        return ((key, score) for key, score in self._scores.items() if score.points < ACT and score.certain)

    def forgeable_above(self, points: float) -> Iterator[tuple[ScoreKey, Score]]:
        """Yield the scores of this height on forgeable evidence of those who are no offenders yet."""
        return (
            (key, score) for key, score in self._scores.items() if key.signal.forgeable and points <= score.points < ACT
        )

    def inside(self, parents: Iterable[ScoreKey]) -> dict[ScoreKey, list[Score]]:
        """Return, for each of these prefixes, the scores of the same policy and signal that lie inside it.

        One pass over all scores, however many prefixes are asked for.
        """
        found: dict[ScoreKey, list[Score]] = {key: [] for key in parents}
        widths = {(key.target.version, key.target.prefixlen) for key in found}
        if not widths:
            return found
        by_start = {(key.policy, key.signal, key.target.prefixlen, _start(key.target)): key for key in found}
        for key, score in self._scores.items():
            target = key.target
            for version, prefixlen in widths:
                if version == target.version and prefixlen < target.prefixlen:
                    host_bits = target.max_prefixlen - prefixlen
                    start = _start(target) >> host_bits << host_bits
                    parent = by_start.get((key.policy, key.signal, prefixlen, start))
                    if parent is not None:
                        found[parent].append(score)
        return found

    def highest(self, count: int) -> list[tuple[ScoreKey, Score]]:
        """Return the highest scores, highest first."""
        return sorted(self._scores.items(), key=lambda item: -item[1].points)[:count]

    def __len__(self) -> int:
        return len(self._scores)

    def _drain_unseen(self, seen: set[ScoreKey], elapsed: Mapping[Signal, float]) -> None:
        for key, score in self._scores.items():
            if key not in seen and key.signal in elapsed:
                hold_s = self.holds[key.policy][key.signal]
                score.drain(min(elapsed[key.signal], hold_s), hold_s)
        if any(not score.points for score in self._scores.values()):
            self._scores = {key: score for key, score in self._scores.items() if score.points}

    def _forget_lowest(self) -> None:
        if len(self._scores) > TRACKED:
            self._scores = dict(self.highest(TRACKED))


def _start(network: Network) -> int:
    return int(network.network_address)
