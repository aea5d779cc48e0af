"""How pressure went over a report's span: stretches of history, what clients met in each, and where no one looked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from synguard.clock import rfc3339
from synguard.ledger.records import Figure, Stretch, Track
from synguard.units import format_duration

GRAINS_S: Final = (10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
"""How long one point of a timeline may stand for; the ledger keeps a calm host by ten seconds."""
MOST_POINTS: Final = 360
"""Points of a timeline: more than a screen tells apart, and few enough for a table behind the charts."""
SHORT_S: Final = 900.0
"""A span up to this is drawn as it was kept, by the second where it was attacked."""
SLACK_S: Final = 2.0
"""A pause shorter than this between two stretches is none: rows are not cut to the tick."""


class Health(StrEnum):
    """How the handshakes of a stretch fared, the gravest that there was in it."""

    GOOD = "good"
    """Every SYN was answered as usual."""
    SLOW = "slow application"
    """A full accept queue refused handshakes: the application did not take them."""
    COOKIES = "cookies"
    """A queue was full; SYNs were answered by cookies, so clients got in."""
    DROPPED = "turned away"
    """A full queue turned SYNs into nothing, those of clients too."""
    UNKNOWN = "not known"
    """Nobody watched, or the kernel's counters could not be read."""


HEALTH_WORDS: Final = {
    Health.GOOD: "every SYN was answered",
    Health.COOKIES: "a queue was full, SYN cookies let clients in",
    Health.DROPPED: "SYNs were turned away, those of clients too",
    Health.SLOW: "the application was too slow to accept",
    Health.UNKNOWN: "not known",
}

NOTICED: Final = 0.5
"""Cookies, drops or refusals a stretch must hold to count: sums of rates are no whole numbers."""


@dataclass(frozen=True, slots=True)
class Peak:
    """The most that one figure got to."""

    value: float
    at: datetime
    """When the stretch that holds it began …"""
    until: datetime
    """… and ended: the peak lies in between, and no one kept when."""
    censored: bool
    """A SYN queue was full at the time: the true count of half-open sockets was higher."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """What is known of the whole host between two times."""

    since: datetime
    until: datetime
    stretches: tuple[Stretch, ...] = ()
    """Earliest first; where no one watched there is none."""

    @property
    def watched_s(self) -> float:
        """For how long an agent watched; an hour lived twice, because the clock was set back, counts once."""
        return min(sum(one.watched_s for one in self.stretches), (self.until - self.since).total_seconds())

    @property
    def share(self) -> float:
        """The share of the span that was watched, 0 to 1."""
        span = (self.until - self.since).total_seconds()
        return self.watched_s / span if span > 0 else 0.0

    @property
    def shown(self) -> tuple[datetime, datetime]:
        """What is drawn: the whole span, or what was watched of it and a little around where that is less than half."""
        if not self.stretches:
            return self.since, self.until
        first, last = self.stretches[0].at, max(one.until for one in self.stretches)
        if (last - first) * 2 >= self.until - self.since:
            return self.since, self.until
        around = max((last - first) / 20, timedelta(seconds=5))
        return max(first - around, self.since), min(last + around, self.until)

    def known_s(self, figure: Figure) -> float:
        """Return for how long one figure was known."""
        return sum(track.seconds for _, track in self.tracks(figure))

    def tracks(self, figure: Figure) -> Iterator[tuple[Stretch, Track]]:
        """Yield each stretch in which a figure was known, with how it went."""
        for one in self.stretches:
            track = one.tracks.get(figure)
            if track is not None:
                yield one, track

    def peak(self, figure: Figure) -> Peak | None:
        """Return the most that a figure got to; None where it was never known."""
        highest = max(self.tracks(figure), key=lambda pair: pair[1].most, default=None)
        if highest is None:
            return None
        stretch, track = highest
        return Peak(track.most, stretch.at, stretch.until, figure is Figure.HALF_OPEN and stretch.censored_s > 0)

    def mean(self, figure: Figure) -> float | None:
        """Return the mean of a figure while it was known; None where it never was."""
        seconds = self.known_s(figure)
        return sum(track.total for _, track in self.tracks(figure)) / seconds if seconds else None

    def total(self, figure: Figure) -> float:
        """Return how many there were of what a rate counts."""
        return sum(track.total for _, track in self.tracks(figure))

    def gaps(self) -> list[tuple[datetime, datetime]]:
        """Return the times in which no one watched, longer than the slack between rows."""
        return list(_gaps(self.since, self.until, self.stretches))


def grain_for(span_s: float) -> float:
    """Return for how long one point of a span stands; less than any row for spans short enough to be drawn as kept."""
    if span_s <= SHORT_S:
        return 0.001
    return float(next((grain for grain in GRAINS_S if span_s / grain <= MOST_POINTS), GRAINS_S[-1]))


def health_of(stretch: Stretch) -> Health:
    """Return how handshakes fared in a stretch."""
    if Figure.COMPLETED not in stretch.tracks:
        return Health.UNKNOWN
    for figure, health in _GRAVEST:
        track = stretch.tracks.get(figure)
        if track is not None and track.total >= NOTICED:
            return health
    return Health.GOOD


_GRAVEST: Final = (
    (Figure.DROPPED, Health.DROPPED),
    (Figure.COOKIES_SENT, Health.COOKIES),
    (Figure.REFUSED, Health.SLOW),
)


def health_seconds(stretches: Iterable[Stretch]) -> dict[Health, float]:
    """Return health → for how long it was so; those that never were are absent.

    A stretch counts whole as the gravest that there was in it.
    """
    found: dict[Health, float] = {}
    for one in stretches:
        health = health_of(one)
        found[health] = found.get(health, 0.0) + one.watched_s
    return found


def _gaps(since: datetime, until: datetime, stretches: Sequence[Stretch]) -> Iterator[tuple[datetime, datetime]]:
    slack = timedelta(seconds=SLACK_S)
    end = since
    for one in stretches:
        if one.at - end > slack:
            yield end, one.at
        end = max(end, one.until)
    if until - end > timedelta(seconds=20):  # the stretch under way is written when it is over
        yield end, until


def timeline_shape(timeline: Timeline) -> dict[str, Any]:
    """Return the timeline as JSON: figures that were not known are absent, never zero."""
    return {
        "since": rfc3339(timeline.since),
        "until": rfc3339(timeline.until),
        "watched_s": round(timeline.watched_s, 1),
        "gaps": [{"from": rfc3339(start), "to": rfc3339(end)} for start, end in timeline.gaps()],
        "stretches": [_stretch_shape(one) for one in timeline.stretches],
    }


def _stretch_shape(one: Stretch) -> dict[str, Any]:
    figures = {
        figure.value: {
            "mean": round(track.mean, 3),
            "least": track.least,
            "most": track.most,
            "known_s": round(track.seconds, 3),
        }
        for figure, track in one.tracks.items()
    }
    return {
        "at": rfc3339(one.at),
        "span_s": round(one.span_s, 3),
        "watched_s": round(one.watched_s, 3),
        "queue_full_s": round(one.censored_s, 3),
        "fill": one.fill,
        "health": health_of(one).value,
        **figures,
    }


def watched_words(timeline: Timeline) -> str:
    """Return how much of the span was watched, as a sentence."""
    span = (timeline.until - timeline.since).total_seconds()
    if not timeline.stretches:
        return f"Nothing is known of how pressure went in these {format_duration(span)}: no agent kept history."
    if timeline.share >= COMPLETE:
        return f"An agent watched all of these {format_duration(span)}."
    return (
        f"An agent watched {format_duration(timeline.watched_s)} of these {format_duration(span)} "
        f"({timeline.share:.0%}); nothing is known of the rest."
    )


COMPLETE: Final = 0.995
"""Share from which a span counts as watched whole: a restart takes some seconds."""
