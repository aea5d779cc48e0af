"""Limits argued from what a host's own traffic showed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from synguard.addresses import format_network
from synguard.model import Signal
from synguard.policy.models import Limits, Policy
from synguard.replay.peaks import PeakFigures
from synguard.replay.traffic_profile import TrafficProfile
from synguard.units import format_duration

FLOORS: Final[Mapping[Signal, float]] = {
    Signal.HALF_OPEN: 16,
    Signal.SYN_RATE: 50,
    Signal.CONNECTIONS: 50,
    Signal.CONNECTION_RATE: 20,
}
"""No limit for a source is suggested below: an office of some dozen people behind one address does as much when all
reload a page, whether the recording has seen it or not."""
PREFIX_OVER_SOURCE: Final = 4
"""A prefix bears at least this many sources at their limit."""
FEWEST_SOURCES: Final = 10
"""Fewer sources than this say nothing about those that did not come."""
FAR_ABOVE_USUAL: Final = 20
"""A limit this many times the default pack's is told of aloud."""
HIGHEST: Final = 10_000_000.0
RETRANSMITTED: Final = 2
"""SYNs of an honest client for each connection, at worst: the first is lost and sent again."""
OUTLIER: Final = 5
"""The loudest source is told of if it was this many times as loud as nine of ten."""
SHORT_S: Final = 3600.0

_ROUND: Final = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


@dataclass(frozen=True, slots=True)
class Margin:
    """By how much a limit stays above what was seen, and why."""

    factor: float
    why: str


@dataclass(frozen=True, slots=True)
class Line:
    """One limit and what it rests on."""

    limit: float
    argument: tuple[str, ...]
    figures: PeakFigures | None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One policy with limits of its own, and the argument for each."""

    policy: Policy
    """As it is suggested; as it was where ``enough`` is False."""
    enough: bool
    """Whether there was traffic enough on its ports to say anything."""
    seen: int
    """Sources that held a connection to its ports."""
    sources: Mapping[Signal, Line]
    prefixes: Mapping[Signal, Line]
    warnings: tuple[str, ...]


def margin_for(calm_s: float, asked: float | None = None) -> Margin:
    """Return the margin for so much calm traffic; what a short recording cannot have seen makes it wider."""
    seen = format_duration(calm_s)
    if asked is not None:
        return Margin(asked, f"x{asked:g}, as asked for")
    if calm_s < SHORT_S:
        return Margin(4, f"x4: only {seen} of calm were recorded, and busier moments are likely")
    if calm_s < 24 * SHORT_S:
        return Margin(3, f"x3: {seen} of calm were recorded; a day's busiest hour may not be among them")
    return Margin(2, f"x2: {seen} of calm were recorded, whole days and their busiest hours")


def suggest(policies: Sequence[Policy], profile: TrafficProfile, margin: Margin, usual: Policy) -> list[Suggestion]:
    """Return a suggestion for each policy; ``usual`` is the default pack's, to tell what is far from it."""
    return [_suggest(policy, profile, margin, usual) for policy in policies]


def rounded_up(value: float) -> float:
    """Return the next of 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    step = next(step for step in _ROUND if step * power >= value * (1 - 1e-9))
    return min(round(step * power, 6), HIGHEST)


def _suggest(policy: Policy, profile: TrafficProfile, margin: Margin, usual: Policy) -> Suggestion:
    seen = profile.sources(policy)
    if seen < FEWEST_SOURCES:
        why = f"policy {policy.name}: {seen} sources on its ports are too few to judge by; its limits stay as they were"
        return Suggestion(policy, False, seen, {}, {}, (why,))
    warnings: list[str] = []
    sources: dict[Signal, Line] = {}
    prefixes: dict[Signal, Line] = {}
    for signal in Signal:
        before = policy.limits.of(signal)
        if before is not None:
            figures = profile.of_sources(policy, signal)
            sources[signal] = _line(policy, signal, figures, FLOORS[signal], before, margin)
            warnings.extend(_outlier(policy, signal, figures))
        before = policy.prefix_limits.of(signal)
        if before is not None:
            least = PREFIX_OVER_SOURCE * (sources[signal].limit if signal in sources else FLOORS[signal])
            figures = profile.of_prefixes(policy, signal)
            prefixes[signal] = _line(policy, signal, figures, least, before, margin, prefix=True)
    warnings.extend(_far_above(policy, "limits", sources, usual.limits))
    warnings.extend(_far_above(policy, "prefix_limits", prefixes, usual.prefix_limits))
    new = policy.model_copy(
        update={
            "limits": Limits(**{signal.value: line.limit for signal, line in sources.items()}),
            "prefix_limits": Limits(**{signal.value: line.limit for signal, line in prefixes.items()}),
        }
    )
    return Suggestion(new, True, seen, sources, prefixes, tuple(warnings))


def _line(
    policy: Policy,
    signal: Signal,
    figures: PeakFigures | None,
    least: float,
    before: float,
    margin: Margin,
    *,
    prefix: bool = False,
) -> Line:
    what = "prefixes" if prefix else "sources"
    argument: list[str] = []
    estimated = signal is Signal.SYN_RATE
    factor = margin.factor * (RETRANSMITTED if estimated else 1)
    if figures is None:
        wanted = 0.0
        few = f"with {policy.prefixes.min_sources} and more sources " if prefix else ""
        argument.append(f"No {what} {few}were seen.")
    else:
        wanted = figures.peak * factor
        argument.append(_seen(policy, signal, figures, what))
        if estimated:
            argument.append(
                "SYNs are sampled under pressure only, so these are new connections: each takes one SYN, or "
                f"{RETRANSMITTED} where the first is lost."
            )
    if wanted > least:
        steps = f"{figures.peak if figures else 0:.3g} x {factor:g} = {wanted:.3g}"
        limit = rounded_up(wanted)
        argument.append(f"{steps}, rounded up. In effect before: {before:g}.")
    else:
        limit = min(least, HIGHEST)
        office = "what a small office behind one address does"
        why = f"{PREFIX_OVER_SOURCE} sources at their limit" if prefix else office
        much = f" (with the margin {wanted:.3g} would do)" if wanted else ""
        argument.append(f"Not below {why}{much}. In effect before: {before:g}.")
    return Line(limit, tuple(argument), figures)


def _seen(policy: Policy, signal: Signal, figures: PeakFigures, what: str) -> str:
    hold_s, second = policy.hold.of(signal), policy.prefixes.lengths(policy.prefixes.family_of(figures.loudest))[1:2]
    wider = what == "prefixes" and (figures.loudest.prefixlen,) != second
    as_if = f" (counted as its share for one /{second[0]})" if wider else ""
    return (
        f"Of {figures.targets:,} {what}, each at its loudest {format_duration(hold_s)}, half had at most "
        f"{_amount(figures.p50, signal)}, 99 % at most {_amount(figures.p99, signal)}, 99.9 % at most "
        f"{_amount(figures.p999, signal)}; {format_network(figures.loudest)} had {_amount(figures.peak, signal)}"
        f"{as_if}."
    )


def _amount(value: float, signal: Signal) -> str:
    return f"{value:.3g}{signal.unit}"


def _outlier(policy: Policy, signal: Signal, figures: PeakFigures | None) -> list[str]:
    if figures is None or figures.peak <= max(OUTLIER * figures.p90, FLOORS[signal]):
        return []
    return [
        f"policy {policy.name}: {format_network(figures.loudest)} alone sets limits.{signal}: it reached "
        f"{_amount(figures.peak, signal)} where nine of ten had at most {_amount(figures.p90, signal)}; if it is a "
        "proxy, monitoring or backup of yours, put it into [allow] and suggest again"
    ]


def _far_above(policy: Policy, table: str, lines: Mapping[Signal, Line], usual: Limits) -> list[str]:
    return [
        f"policy {policy.name}: {table}.{signal} {line.limit:g} is {line.limit / normal:.0f} times the default pack's "
        f"{normal:g}: make sure that no attack was recorded and no proxy stands in front"
        for signal, line in lines.items()
        if (normal := usual.of(signal)) is not None and line.limit > FAR_ABOVE_USUAL * normal
    ]
