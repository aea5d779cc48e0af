"""What the agent writes into its ledger beside decisions; bans that it does not take are kept and offered again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from synguard.errors import LedgerError, SynguardError
from synguard.ledger import Ledger
from synguard.logs import event
from synguard.model import Ban

log: Final = logging.getLogger(__name__)


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
