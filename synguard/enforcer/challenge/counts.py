"""What the challenge program counts: SYNs by port always, SYNs by source and port while somebody asks for it."""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from synguard.enforcer.challenge.every_map import Maps
from synguard.enforcer.challenge.maps import Records
from synguard.readings import BANNED_ONE_IN

_NS_PER_S: Final = 1_000_000_000


class SynCounts:
    """The counts of one loaded program.

    Raises:
        PlaneError: From each method: the kernel refused to read or write a map.
    """

    def __init__(self, maps: Maps) -> None:
        self._maps = maps

    def count(self, seconds: float, one_in: int) -> None:
        """Count SYNs by source from now on for so long, each with a chance of one in ``one_in`` (a power of two)."""
        record = self._maps.settings[0]
        record["count_until"] = time.monotonic_ns() + round(seconds * _NS_PER_S)
        record["count_mask"] = one_in - 1
        record["banned_mask"] = max(one_in, BANNED_ONE_IN) - 1
        self._maps.settings[0] = record

    def take(self) -> tuple[Records, Records]:
        """Return and remove what was counted by source: ``layout.SOURCE`` and ``layout.SIGHTING`` records.

        ``syns`` in it is how many SYNs on the wire were counted or stand behind those that were.
        """
        return self._maps.sources.read(drain=True)

    def total(self) -> int:
        """Return how many SYNs have arrived so far, on all ports."""
        return int(self._maps.port_counts.read()["syns"].sum())

    def by_port(self) -> dict[int, int]:
        """Return port → SYNs so far, of the ports that are watched; other ports together are port 0."""
        numbers = self._maps.ports.read()["number"]
        syns = self._maps.port_counts.read()["syns"]
        per_slot = syns.reshape(len(numbers), -1).sum(axis=1)
        watched = [0, *np.flatnonzero(numbers).tolist()]
        return {int(numbers[slot]): int(per_slot[slot]) for slot in watched}
