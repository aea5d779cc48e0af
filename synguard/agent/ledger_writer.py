"""What the agent writes into its ledger beside decisions; bans that it does not take are kept and offered again."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import chain, islice
from typing import Final, TypeAlias

from synguard.enforcer.held_bans import total_hits
from synguard.errors import LedgerError, SynguardError
from synguard.ledger import Ledger
from synguard.logs import event
from synguard.model import NO_HITS, Ban, Hits, KernelBan

log: Final = logging.getLogger(__name__)

COUNTS_AT_ONCE: Final = 512
"""Bans whose counts one tick writes."""
LOOKED_AT_ONCE: Final = 4_096
"""Bans whose counts one tick compares with those of the read-back before."""

_Count: TypeAlias = tuple[str, Hits]


@contextmanager
def ledger_failures_logged() -> Iterator[None]:
    """Log what the ledger refuses, and go on."""
    try:
        yield
    except LedgerError as error:
        log.error("%s", error, extra=event("ledger"))


class LedgerWriter:
    """Writes bans and actions; a ledger that fails stops nothing else, and is logged when that begins and ends."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.unwritten: list[Ban] = []
        """Bans that the ledger has not taken yet."""
        self.hits: Mapping[str, Hits] = {}
        """Ban id → packets that the kernel stopped, as of the last read-back; bans that met none are absent."""
        self._uncounted: dict[str, Hits] = {}
        """Counts that changed, and that the ledger has not been given yet."""
        self._looking: Iterator[_Count | None] = iter(())
        """Counts that are yet to be looked at."""
        self.problem = ""
        """Why the ledger takes nothing, one sentence; empty while it does."""

    def write(self) -> None:
        """Offer the unwritten bans to the ledger."""
        try:
            self._ledger.add_bans(self.unwritten)
        except LedgerError as error:
            self.failed(error)
        else:
            self.unwritten.clear()
            self.took()

    def count(self, held: Mapping[str, KernelBan]) -> None:
        """Take in what the kernel holds and has counted."""
        before, self.hits = self.hits, total_hits(held)
        self._looking = chain(self._looking, _changes(before, self.hits, held))
        if self.problem:  # else those of bans that are over would pile up until the ledger takes them
            self._uncounted = {ban_id: hits for ban_id, hits in self._uncounted.items() if ban_id in held}

    def write_counts(self, utc: datetime) -> None:
        """Offer some counts to the ledger; those of 100,000 bans at one go took a tick of a second and more."""
        self._uncounted |= filter(None, islice(self._looking, LOOKED_AT_ONCE))
        some = dict(islice(self._uncounted.items(), COUNTS_AT_ONCE))
        if not some:
            return
        try:
            self._ledger.record_hits(some, utc)
        except LedgerError as error:
            self.failed(error)
            return
        self.took()
        for ban_id in some:
            del self._uncounted[ban_id]

    def note(self, utc: datetime, kind: str, text: str) -> None:
        """Record an action."""
        try:
            self._ledger.record_action(utc, kind, text)
        except LedgerError as error:
            self.failed(error)
        else:
            self.took()

    def took(self) -> None:
        """Know that the ledger has just taken something."""
        if self.problem and not self.unwritten:
            log.warning("the ledger can be written again", extra=event("ledger"))
            self.problem = ""

    def failed(self, error: SynguardError) -> None:
        """Know that the ledger has just refused something; the same refusal is logged once."""
        if self.problem != str(error):
            log.error("%s", error, extra=event("ledger"))
        self.problem = str(error)


def _changes(before: Mapping[str, Hits], after: Mapping[str, Hits], held: Container[str]) -> Iterator[_Count | None]:
    """Yield for each ban its count if that has changed; that of a held ban which is counted no more is none."""
    for count in after.items():
        yield count if before.get(count[0]) != count[1] else None
    for ban_id in before:
        yield (ban_id, NO_HITS) if ban_id not in after and ban_id in held else None
