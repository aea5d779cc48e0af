"""What legitimate clients experienced: who got through, when, how quickly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.support.lab.namespaces import LabError


@dataclass(frozen=True, slots=True)
class Attempt:
    """One page asked for."""

    client: int
    source: str
    at: float
    """``CLOCK_MONOTONIC`` when it began."""
    connect_s: float | None
    """Seconds until the connection stood; None where it never did, or stood before."""
    total_s: float
    outcome: str
    """``ok``, or ``connect_timeout``, ``read_timeout``, ``refused``, ``reset``, ``bad_answer``, ``unreachable``,
    ``lost`` (a persistent connection that had failed before)."""

    @property
    def ok(self) -> bool:
        """Whether the page came, whole and in time."""
        return self.outcome == "ok"


class Attempts:
    """Attempts in the order they ended."""

    def __init__(self, attempts: Iterable[Attempt]) -> None:
        self.all = tuple(attempts)

    @classmethod
    def from_lines(cls, lines: Iterable[dict[str, Any]]) -> Attempts:
        """Return the attempts among the JSON lines of the client program."""
        fields = Attempt.__slots__  # type: ignore[attr-defined, unused-ignore]  # slots of a dataclass
        return cls(Attempt(**{name: line[name] for name in fields}) for line in lines if line["event"] == "attempt")

    def __len__(self) -> int:
        return len(self.all)

    def between(self, start: float = float("-inf"), end: float = float("inf")) -> Attempts:
        """Return the attempts that began in this window of ``CLOCK_MONOTONIC``."""
        return Attempts(attempt for attempt in self.all if start <= attempt.at < end)

    def of(self, source: str) -> Attempts:
        """Return the attempts from one address."""
        return Attempts(attempt for attempt in self.all if attempt.source == source)

    def by_source(self) -> dict[str, Attempts]:
        """Return source → its attempts; sources that made none are absent."""
        groups: dict[str, list[Attempt]] = {}
        for attempt in self.all:
            groups.setdefault(attempt.source, []).append(attempt)
        return {source: Attempts(attempts) for source, attempts in groups.items()}

    def outcomes(self) -> Counter[str]:
        """Return outcome → how many attempts ended so."""
        return Counter(attempt.outcome for attempt in self.all)

    @property
    def share(self) -> float:
        """Share of attempts that got the page, 0 to 1.

        Raises:
            LabError: There are none: nothing is known, which is not the same as all well.
        """
        if not self.all:
            raise LabError("no client made an attempt in this window, so there is no success share")
        return sum(attempt.ok for attempt in self.all) / len(self.all)

    def connect_ms(self, percent: float = 50.0) -> float:
        """Return this percentile of the time to connect, in milliseconds, over new connections that stood; or NaN."""
        times = [attempt.connect_s for attempt in self.all if attempt.connect_s is not None]
        return float(np.percentile(times, percent)) * 1e3 if times else float("nan")
