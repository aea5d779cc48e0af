"""What a metric is, and what metrics are read from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from synguard.status.model import Status


@dataclass(frozen=True, slots=True)
class Delivery:
    """How messages fare, over all services; counts since the agent started but for ``waiting``."""

    waiting: int = 0
    sent: int = 0
    given_up: int = 0
    overflowed: int = 0


@dataclass(frozen=True, slots=True)
class MetricsSource:
    """What one exposition is made of."""

    status: Status
    delivery: Delivery = Delivery()


Sample = tuple[tuple[str, ...], float]
"""Label values in the order of the names, and the value."""


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric."""

    name: str
    """As it is exposed, ``_total`` and all."""
    about: str
    samples: Callable[[MetricsSource], Iterable[Sample]]
    labels: tuple[str, ...] = ()

    @property
    def kind(self) -> Literal["gauge", "counter"]:
        """Which of the two it is, by its name."""
        return "counter" if self.name.endswith("_total") else "gauge"
