"""What the agent asks of its ledger beside the tick: who was banned before, and room for what comes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from synguard.addresses import Network
from synguard.errors import LedgerError
from synguard.ledger import Ledger
from synguard.logs import event
from synguard.model import Mode
from synguard.policy.models import Policy

log: Final = logging.getLogger(__name__)

PRUNE_EVERY_S: Final = 600.0


class LedgerMaintenance:
    """Prunes the ledger now and then, and reads the repeat offenders from it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._prune_due = float("-inf")

    def prune(self, now: float, utc: datetime) -> None:
        """Let old records go, where that is due; a ledger that cannot is logged."""
        if now < self._prune_due:
            return
        self._prune_due = now + PRUNE_EVERY_S
        try:
            self._ledger.prune(utc)
        except LedgerError as error:
            log.error("%s", error, extra=event("ledger"))

    def offenders(self, policies: Sequence[Policy], utc: datetime, mode: Mode) -> dict[Network, tuple[int, datetime]]:
        """Return target → how often it was banned within the memory of the policies, and when last.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        memory = timedelta(seconds=max(policy.bans.memory for policy in policies))
        known = self._ledger.offences(utc - memory, dry_run=mode is Mode.DRY_RUN)
        return {target: (offence.times, offence.last) for target, offence in known.items()}

    def known_offenders(
        self, policies: Sequence[Policy], utc: datetime, mode: Mode
    ) -> dict[Network, tuple[int, datetime]]:
        """Return the offenders; none where the ledger cannot be read, so that repeaters pass for first ones."""
        try:
            return self.offenders(policies, utc, mode)
        except LedgerError as error:
            log.error("%s", error, extra=event("ledger"))
            return {}
