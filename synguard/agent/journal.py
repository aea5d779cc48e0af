"""What a tick writes down: verdicts, incidents and counts; and what the ledger is asked beside the tick."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from synguard.addresses import Network
from synguard.agent.decision_log import DecisionLog
from synguard.agent.ledger_writer import ledger_failures_logged
from synguard.agent.totals import Totals
from synguard.decision.engine import Decision
from synguard.errors import LedgerError
from synguard.incidents import Phase
from synguard.ledger import Ledger
from synguard.logs import event
from synguard.model import Mode
from synguard.policy.models import Policy

log: Final = logging.getLogger(__name__)

PRUNE_EVERY_S: Final = 600.0
OPEN_INCIDENTS: Final = timedelta(days=30)
"""How far back an agent looks for an incident that an earlier one died in."""


class Journal:
    """Writes decisions down, counts them, prunes the ledger now and then, and reads repeat offenders from it."""

    def __init__(self, ledger: Ledger, started_at: datetime, *, dry_run: bool) -> None:
        self.ledger: Final = ledger
        self.started_at: Final = started_at
        self.decisions: Final = DecisionLog(ledger, dry_run=dry_run)
        self.totals: Final = Totals()
        self.refusal = ""
        """Why bans were refused in the last tick, one sentence."""
        self._prune_due = float("-inf")

    def write(self, decision: Decision, now: float, utc: datetime) -> None:
        """Write down what a tick decided."""
        self.decisions.write(decision, now, utc)
        self.totals.ticked(decision)
        self.refusal = next(iter(decision.refusals), "")

    def end_open_incidents(self, utc: datetime) -> None:
        """End incidents that an earlier agent died in; what goes on is reported as a new one.

        Raises:
            LedgerError: The ledger cannot be read or written.
        """
        for incident in self.ledger.incidents_since(utc - OPEN_INCIDENTS):
            if incident.ended_at is None:
                self.ledger.save_incident(replace(incident, phase=Phase.CALM, ended_at=utc))

    def prune(self, now: float, utc: datetime) -> None:
        """Delete old records, where that is due; a ledger that cannot is logged."""
        if now < self._prune_due:
            return
        self._prune_due = now + PRUNE_EVERY_S
        with ledger_failures_logged():
            self.ledger.prune(utc)

    def offenders(self, policies: Sequence[Policy], utc: datetime, mode: Mode) -> dict[Network, tuple[int, datetime]]:
        """Return target → how often it was banned within the memory of the policies, and when last.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        memory = timedelta(seconds=max(policy.bans.memory for policy in policies))
        known = self.ledger.offences(utc - memory, dry_run=mode is Mode.DRY_RUN)
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
