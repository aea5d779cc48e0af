"""Scales and ticks: from figures and times to places on paper, and the round numbers that stand at them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

_ROUND: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_STEPS_S: Final = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800,
    3600, 2 * 3600, 3 * 3600, 6 * 3600, 12 * 3600,
    86400, 2 * 86400, 7 * 86400, 14 * 86400, 28 * 86400, 91 * 86400, 182 * 86400, 365 * 86400,
)  # fmt: skip
"""Distances between ticks on a time axis."""
_QUARTER: Final = timedelta(minutes=15)
"""Every zone's whole hours lie on quarters of an hour in UTC."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A straight scale from one range of numbers to another; the second may run backwards, as heights on paper do."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of a value; beyond the range it stays at the edge."""
        if self.high <= self.low:
            return self.start
        share = min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)
        return self.start + share * (self.end - self.start)


@dataclass(frozen=True, slots=True)
class AxisTick:
    """One labelled place on an axis."""

    value: float
    label: str


def value_ticks(most: float) -> list[AxisTick]:
    """Return ticks from 0 to at least ``most``, at round whole numbers, about four above 0."""
    step = max(math.ceil(_round_step(max(most, 1e-9) / 4)), 1)
    count = max(math.ceil(most / step - 1e-9), 1)
    return [AxisTick(index * step, number_label(index * step)) for index in range(count + 1)]


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(one for one in _ROUND if one * power >= rough * (1 - 1e-9)) * power


def number_label(value: float) -> str:
    """Return a number as short as an axis wants it: ``0``, ``250``, ``1.5k``, ``20k``, ``3M``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def time_ticks(since: datetime, until: datetime, about: int, zone: tzinfo | None = None) -> list[AxisTick]:
    """Return at most ``about`` ticks at round times of day in ``zone`` (the host's own where it is None).

    A tick's value is its POSIX time. The days on which clocks are set keep their ticks at round hours.
    """
    span = (until - since).total_seconds()
    step = next((one for one in _STEPS_S if span / one <= about), _STEPS_S[-1])
    moments = _fine(since, until, step, zone) if step < 3600 else _coarse(since, until, step, zone)
    return [AxisTick(moment.timestamp(), _time_label(moment, step)) for moment in moments]


def _fine(since: datetime, until: datetime, step: int, zone: tzinfo | None) -> Iterator[datetime]:
    first = math.ceil(since.timestamp() / step) * step
    for stamp in range(first, math.floor(until.timestamp()) + 1, step):
        yield datetime.fromtimestamp(stamp, UTC).astimezone(zone)


def _coarse(since: datetime, until: datetime, step: int, zone: tzinfo | None) -> Iterator[datetime]:
    quarter = _QUARTER.total_seconds()
    moment = datetime.fromtimestamp(math.ceil(since.timestamp() / quarter) * quarter, UTC)
    while moment <= until:
        local = moment.astimezone(zone)
        hours, days = step // 3600, step // 86400
        if local.minute == 0 and _is_round(local, hours, days):
            yield local
        moment += _QUARTER


def _is_round(local: datetime, hours: int, days: int) -> bool:
    return local.hour == 0 and local.toordinal() % days == 0 if days else local.hour % hours == 0


def _time_label(local: datetime, step: int) -> str:
    if step < 60:
        return f"{local:%H:%M:%S}"
    if step < 86400:
        return f"{local:%H:%M}" if local.hour or local.minute else f"{local:%a} {local.day}"
    if step < 28 * 86400:
        return f"{local:%b} {local.day}"
    return f"{local:%b %Y}"


def zone_label(moment: datetime, zone: tzinfo | None = None) -> str:
    """Return the zone of a time as people know it, with its distance from UTC: ``CET, UTC+01:00``; or ``UTC``."""
    local = moment.astimezone(zone)
    offset = local.utcoffset() or timedelta(0)
    if not offset:
        return "UTC"
    minutes = round(offset.total_seconds() / 60)
    distance = f"UTC{'+' if minutes >= 0 else '-'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    name = local.tzname() or ""
    return f"{name}, {distance}" if name and not name.startswith(("+", "-", "UTC")) else distance
