"""The text that Prometheus reads, made once per status however often it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from synguard.metrics.series import Delivery, MetricSpec, MetricsSource
from synguard.metrics.table import SERIES
from synguard.plain import clipped, printable
from synguard.status.model import Status

LONGEST_LABEL: Final = 64
"""Characters of a label's value; names of processes come from others."""


class Exposition:
    """Keeps the last status and gives its text; the registry is its own, so that no library's figures join in."""

    def __init__(self, delivery: Callable[[], Delivery] = Delivery) -> None:
        self._delivery = delivery
        self._status: Status | None = None
        self._of: Status | None = None
        self._text = b""

    def take(self, status: Status) -> None:
        """Keep a status; it costs nothing until somebody asks."""
        self._status = status

    def text(self) -> bytes:
        """Return the exposition of the last status; empty before the first. To be called by one thread."""
        status = self._status
        if status is None:
            return b""
        if status is not self._of:
            self._text, self._of = generate_latest(_Once(MetricsSource(status, self._delivery()))), status
        return self._text


class _Once(CollectorRegistry):
    def __init__(self, snapshot: MetricsSource) -> None:
        super().__init__(auto_describe=False)
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Give every metric."""
        return (family(series, self._snapshot) for series in SERIES)


def family(series: MetricSpec, snapshot: MetricsSource) -> Metric:
    """Return one metric with its samples; of two with the same labels the first stands."""
    kind = CounterMetricFamily if series.kind == "counter" else GaugeMetricFamily
    made = kind(series.name, series.about, labels=series.labels)
    seen: set[tuple[str, ...]] = set()
    for labels, value in series.samples(snapshot):
        safe = tuple(clipped(printable(label), LONGEST_LABEL) for label in labels)
        if safe not in seen:
            seen.add(safe)
            made.add_metric(safe, value)
    return made
