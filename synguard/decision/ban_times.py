"""How long a ban lasts: its policy's times, grown for repeat offenders, capped, and jittered."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from synguard.addresses import Network
from synguard.model import Ban
from synguard.policy.models import BanTimes

OFFENDERS_REMEMBERED: Final = 65_536


class RepeatOffenders:
    """How often each target was banned and when last; bounded, the longest quiet are forgotten first."""

    def __init__(self, known: Mapping[Network, tuple[int, datetime]]) -> None:
        self._known = dict(sorted(known.items(), key=lambda item: item[1][1])[-OFFENDERS_REMEMBERED:])

    def next_time(self, target: Network, memory_s: float, now: datetime) -> int:
        """Return which time it would be now: 1 for a target not banned within ``memory_s``."""
        times, last = self._known.get(target, (0, now))
        return times + 1 if now - last <= timedelta(seconds=memory_s) else 1

    def note(self, ban: Ban) -> None:
        """Remember one more ban."""
        self._known.pop(ban.target, None)
        self._known[ban.target] = (ban.times, ban.created_at)
        if len(self._known) > OFFENDERS_REMEMBERED:
            del self._known[next(iter(self._known))]


def ban_seconds(times: BanTimes, nth: int, *, forgeable: bool, chance: random.Random) -> float:
    """Return how long the ``nth`` ban of a target lasts: grown, capped, then jittered, never past the cap."""
    first, cap = (times.first_forgeable, times.cap_forgeable) if forgeable else (times.first, times.cap)
    growths = min(nth - 1, 64)  # beyond that every growth has long met the cap
    lasts = min(cap, first * times.growth**growths)
    return max(min(cap, lasts * chance.uniform(1 - times.jitter, 1 + times.jitter)), 1.0)
