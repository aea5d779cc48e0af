"""Proof that a ban stops something: a target that still arrives while its counter stands still is a leak.

Pure: what arrived, what the kernel counted, and the time are handed in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

AT_LEAST: Final = 3
"""Arrivals without a count that make a leak; one or two may have been under way when the ban began."""
OVER_S: Final = 2.0
"""They must be spread over this long, so that one burst that raced the ban is no leak."""
QUIET_S: Final = 60.0
"""A leak of which nothing more is seen for this long is no longer reported."""
MOST: Final = 256
"""Bans under suspicion at once; a ban that leaks is rare, and thousands leak for one and the same reason."""


@dataclass(slots=True)
class Leak:
    """One ban whose target arrived although its counter stood still."""

    ban_id: str
    base: int
    """Packets that the kernel had counted when the first arrival was seen."""
    first_at: float
    last_at: float
    arrivals: int
    place: str
    """The other network namespace where the sockets are; empty for the host's own."""
    alarming: bool = False


class LeakDetector:
    """Holds arrivals against counts; reported once per ban, over when the counter moves again.

    A leak is called only by a read-back of the counters that came after the arrivals: until the kernel has been
    asked, a counter that is not known to move is no counter that stands still.
    """

    def __init__(self) -> None:
        self._suspects: dict[str, Leak] = {}
        self._packets: Mapping[str, int] = {}
        self._told: set[str] = set()

    @property
    def leaks(self) -> tuple[Leak, ...]:
        """The leaks that stand, longest first."""
        return tuple(leak for leak in self._suspects.values() if leak.alarming)

    def saw(self, ban_id: str, arrivals: int, place: str, now: float) -> None:
        """Note sockets of a ban's target that came to be after the ban; bans without a known count are left out."""
        if ban_id not in self._packets:
            return
        leak = self._suspects.get(ban_id)
        if leak is None:
            if len(self._suspects) < MOST:
                self._suspects[ban_id] = Leak(ban_id, self._packets[ban_id], now, now, arrivals, place)
            return
        leak.arrivals += arrivals
        leak.last_at, leak.place = now, place

    def read(self, packets: Mapping[str, int], now: float) -> tuple[Leak, ...]:
        """Take in a read-back of the counters, ban id → packets; return the leaks to report now, each once ever."""
        self._packets = packets
        self._told &= packets.keys()
        for ban_id in [one.ban_id for one in self._suspects.values() if self._is_settled(one, now)]:
            del self._suspects[ban_id]
        return tuple(self._raised())

    def forget(self) -> None:
        """Start over: the rules were not what they should have been, which is reported elsewhere."""
        self._suspects.clear()
        self._packets = {}

    def _is_settled(self, leak: Leak, now: float) -> bool:
        return self._packets.get(leak.ban_id) != leak.base or now - leak.last_at > QUIET_S

    def _raised(self) -> Iterator[Leak]:
        for leak in self._suspects.values():
            if leak.alarming or leak.arrivals < AT_LEAST or leak.last_at - leak.first_at < OVER_S:
                continue
            leak.alarming = True
            if leak.ban_id not in self._told:
                self._told.add(leak.ban_id)
                yield leak
