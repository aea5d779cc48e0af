"""A read-back of very many bans, a piece a pass: the tick that would wait for all of it misses what attackers do."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Final

from synguard.enforcer.plane import Actual, Delta
from synguard.model import KernelBan

MANY: Final = 5_000
"""Bans from which the kernel is read back in pieces, by planes that can; fewer are read in some tens of ms."""


COMPARED: Final = 16_384
"""Bans that are held against what is known at one go: some milliseconds."""


class ReadBack:
    """One read-back under way, and what we change ourselves meanwhile.

    What a set held is seen at one moment while it lasts. Nobody is kept from changing it until the end:
    of what we change ourselves we know better than that view, and what others change comes by way of the ledger.
    """

    def __init__(self, pieces: Generator[None, None, Actual]) -> None:
        self._pieces = pieces
        self._touched: set[str] = set()
        self._exceptions = False
        self._seen: Actual | None = None
        self._rest: Iterator[tuple[str, KernelBan]] = iter(())
        self.differing: list[str] = []
        self.took_s = 0.0
        """Seconds that its pieces have taken."""

    def note(self, change: Delta) -> None:
        """Take in a change of ours that the view may or may not show."""
        self._touched.update(ban.id for ban in change.add)
        self._touched.update(held.ban_id for held in change.remove)
        self._exceptions |= bool(change.allow_add or change.allow_remove or change.proven_add or change.proven_remove)

    def go_on(self, known: Actual, now: datetime) -> Actual | None:
        """Take the next piece; return what the kernel holds once it was the last, ``known`` where we know better.

        ``differing`` are then the ids of bans that are not held as they are known.

        Raises:
            PlaneError: The kernel could not be asked.
        """
        start = time.perf_counter()
        try:
            if self._seen is None:
                next(self._pieces)
                return None
        except StopIteration as end:
            self._seen = end.value
            self._rest = iter(end.value.bans.items())
        finally:
            self.took_s += time.perf_counter() - start
        return self._compared(self._seen, known, now)

    def _compared(self, seen: Actual, known: Actual, now: datetime) -> Actual | None:
        """Hold some more bans against what is known; return what the kernel holds once it was the last."""
        before, looked_at = known.bans, 0
        for looked_at, (ban_id, held) in enumerate(islice(self._rest, COMPARED), 1):  # noqa: B007
            if before.get(ban_id) is not held:
                self.differing.append(ban_id)
        return None if looked_at == COMPARED else self._corrected(seen, known, now)

    def drop(self) -> None:
        """Give it up."""
        self._pieces.close()

    def _corrected(self, seen: Actual, known: Actual, now: datetime) -> Actual:
        bans = dict(seen.bans)
        self.differing += bans.keys() - known.bans.keys()
        for ban_id in dict.fromkeys(self.differing):
            if not bans[ban_id].active(now):
                del bans[ban_id]
        for ban_id in self._touched:
            bans.pop(ban_id, None)
        bans |= {ban_id: known.bans[ban_id] for ban_id in self._touched if ban_id in known.bans}
        self.differing += [*self._touched, *(known.bans.keys() - bans.keys())]
        allow, proven = (known.allow, known.proven) if self._exceptions else (seen.allow, seen.proven)
        return replace(seen, bans=bans, allow=allow, proven=proven)
