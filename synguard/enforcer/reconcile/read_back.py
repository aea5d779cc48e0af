"""A read-back of very many bans, a piece a pass: the tick that would wait for all of it misses what attackers do."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import Final

from synguard.ban_columns import microseconds
from synguard.columns import TextColumn
from synguard.enforcer.held_bans import HeldBans
from synguard.enforcer.plane import Actual, Delta

MANY: Final = 1_000
"""Bans from which the kernel is read back in pieces, by planes that can; fewer are read in ten or twenty ms."""


class ReadBack:
    """One read-back under way, and what we change ourselves meanwhile.

    What a set held is seen at one moment while it lasts. Nobody is kept from changing it until the end:
    of what we change ourselves we know better than that view, and what others change comes by way of the ledger.
    """

    def __init__(self, pieces: Generator[None, None, Actual]) -> None:
        self._pieces = pieces
        self._touched = TextColumn()  # an object each would leave a hole in memory
        self._exceptions = False
        self.took_s = 0.0
        """Seconds that its pieces have taken."""

    def note(self, change: Delta) -> None:
        """Take in a change of ours that the view may or may not show."""
        self._touched.extend(ban.id for ban in change.add)
        self._touched.extend(held.ban_id for held in change.remove)
        self._exceptions |= bool(change.allow_add or change.allow_remove or change.proven_add or change.proven_remove)

    def go_on(self, known: Actual, now: datetime) -> Actual | None:
        """Take the next piece; return what the kernel holds once it was the last, ``known`` where we know better.

        Raises:
            PlaneError: The kernel could not be asked.
        """
        start = time.perf_counter()
        try:
            next(self._pieces)
        except StopIteration as end:
            return self._corrected(end.value, known, now)
        finally:
            self.took_s += time.perf_counter() - start
        return None

    def drop(self) -> None:
        """Give it up."""
        self._pieces.close()

    def _corrected(self, seen: Actual, known: Actual, now: datetime) -> Actual:
        bans = HeldBans.of(seen.bans)
        for ban_id in chain(bans.rows.ended(microseconds(now)), iter(self._touched)):
            bans.pop(ban_id, None)
        for ban_id in iter(self._touched):
            held = known.bans.get(ban_id)
            if held is not None:
                bans[ban_id] = held
        allow, proven = (known.allow, known.proven) if self._exceptions else (seen.allow, seen.proven)
        return replace(seen, bans=bans, allow=allow, proven=proven)
