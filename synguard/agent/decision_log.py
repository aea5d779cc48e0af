"""What is written down of decisions: changes, not ticks, whatever the attacker sends."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import datetime
from typing import Final

from synguard.addresses import Network, format_network
from synguard.decision.engine import Decision
from synguard.errors import LedgerError
from synguard.incidents import Incident, Phase
from synguard.ledger import Ledger
from synguard.logs import event
from synguard.model import Ban, FloodKind, Verdict, VerdictKind
from synguard.plain import count
from synguard.units import format_duration, format_ports

log: Final = logging.getLogger(__name__)

SAY_AGAIN_S: Final = 10.0
"""An unchanged verdict is written down again after this long."""
BANS_LOGGED: Final = 5
"""Bans of one tick that get a log line each; the rest are counted in one."""
REMEMBERED: Final = 16_384

_Said = tuple[VerdictKind, Network | None, str]
PHASE_PAUSE_S: Final = 10.0
"""Between the first two lines about an incident's phase; doubled with each, for a flood may come and go for days."""
LONGEST_PHASE_PAUSE_S: Final = 600.0


class PhaseLog:
    """Logs the changes of phase of one incident: the first at once, later ones ever more rarely."""

    def __init__(self, phase: Phase) -> None:
        self._said = phase
        self._due = float("-inf")
        self._pause_s = PHASE_PAUSE_S

    def follow(self, incident: Incident, now: float) -> None:
        """Say which phase the incident is in, if that was not said last and the pause is over."""
        if incident.ended_at is not None or incident.phase is self._said or now < self._due:
            return
        moved = event("incident-phase", incident=incident.id, phase=incident.phase.value)
        log.info("incident %s: %s", incident.id, _PHASE_WORDS[incident.phase], extra=moved)
        self._said, self._due = incident.phase, now + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PHASE_PAUSE_S)


class DecisionLog:
    """Writes incidents and verdicts to the ledger and their turning points to the log."""

    def __init__(self, ledger: Ledger, *, dry_run: bool) -> None:
        self._ledger = ledger
        self.set_dry_run(dry_run)
        self._said_at: dict[_Said, float] = {}
        self._incident: Incident | None = None
        self._phases = PhaseLog(Phase.ATTACK)
        self._refused = ""
        self._flood_kind = FloodKind.NONE
        self.verdicts: Counter[VerdictKind] = Counter()
        """Kind → verdicts that were written down, or would have been but for the ledger."""
        self.problem = ""
        """Why the ledger takes no entries, one sentence; empty while it does."""
        self._told = ""
        """The last of these that was logged, until something could be saved."""

    def set_dry_run(self, dry_run: bool) -> None:
        """Speak of bans as dry-run ones from now on, or as real ones."""
        self._dry_run = dry_run
        self._would = "would ban" if dry_run else "banned"

    def write(self, decision: Decision, now: float, utc: datetime) -> None:
        """Write down what changed; a ledger that fails is reported once and does not stop the tick."""
        self._log_bans(decision.bans)
        self._log_refusals(decision)
        self._log_flood(decision.flood_kind, decision.flood_verdict)
        verdicts = [verdict for verdict in decision.verdicts if self._is_news(verdict, now)]
        if decision.flood_kind is FloodKind.SPOOFED:
            flood = Verdict(VerdictKind.SPOOFED, None, 100.0, "", decision.flood_verdict)
            if self._is_news(flood, now):
                verdicts.append(flood)
        self.verdicts.update(verdict.kind for verdict in verdicts)
        incident = self._incident_news(decision.incident, now)
        try:
            if incident is not None:
                self._ledger.save_incident(incident)
            if verdicts:
                current = decision.incident.id if decision.incident else None
                self._ledger.record_verdicts(verdicts, utc, current)
        except LedgerError as error:
            if self._told != str(error):
                log.error("%s", error, extra=event("ledger"))
            self.problem = self._told = str(error)
        else:
            self.problem = ""
            if incident is not None or verdicts:  # a tick with nothing to save proves nothing
                self._told = ""

    def _is_news(self, verdict: Verdict, now: float) -> bool:
        said = (verdict.kind, verdict.target, verdict.policy)
        if now - self._said_at.get(said, float("-inf")) < SAY_AGAIN_S:
            return False
        if len(self._said_at) >= REMEMBERED:
            self._said_at = {key: at for key, at in self._said_at.items() if now - at < SAY_AGAIN_S}
        if len(self._said_at) < REMEMBERED:
            self._said_at[said] = now
        return True

    def _incident_news(self, incident: Incident | None, now: float) -> Incident | None:
        before, self._incident = self._incident, incident
        if incident is None:
            return None
        if before is not None and before.id == incident.id:
            self._phases.follow(incident, now)
        if before is None or before.id != incident.id:
            begun = event("incident-start", incident=incident.id, kind=incident.kind)
            log.warning("incident %s: %s begins", incident.id, incident.kind, extra=begun)
            self._phases = PhaseLog(incident.phase)
        elif incident.ended_at is not None:
            _log_end(incident, (incident.ended_at - incident.started_at).total_seconds())
            self._incident = None
        elif before.phase is incident.phase and before.kind == incident.kind:
            marker: _Said = (VerdictKind.WATCH, None, incident.id)
            if now - self._said_at.get(marker, float("-inf")) < 1.0:
                return None
            self._said_at[marker] = now
        return incident

    def _log_bans(self, bans: tuple[Ban, ...]) -> None:
        for ban in bans[:BANS_LOGGED]:
            seconds = (ban.expires_at - ban.created_at).total_seconds() if ban.expires_at else None
            lasts = "ever" if seconds is None else format_duration(seconds)
            ports = f" to port {format_ports(ban.ports)}" if ban.ports else ""
            log.warning(
                "%s %s (scope %s%s) for %s: %s [%s, policy %s]",
                ban.standing, format_network(ban.target), ban.scope, ports, lasts, ban.reason, ban.id, ban.policy,
                extra=event(
                    "ban", target=format_network(ban.target), ban=ban.id, scope=ban.scope.value, seconds=seconds,
                    ports=format_ports(ban.ports) if ban.ports else "any", policy=ban.policy, reason=ban.reason,
                    dry_run=self._dry_run,
                ),
            )  # fmt: skip
        if len(bans) > BANS_LOGGED:
            more = len(bans) - BANS_LOGGED
            counted = event("bans", count=more, dry_run=self._dry_run)
            log.warning("%s %d more at the same moment; see: synguard bans", self._would, more, extra=counted)

    def _log_refusals(self, decision: Decision) -> None:
        refused = decision.refusals[0] if decision.refusals else ""
        if refused and not self._refused:
            log.error("not banning: %s", refused, extra=event("not-banning"))
        if refused or decision.phase is Phase.CALM:
            self._refused = refused

    def _log_flood(self, kind: FloodKind, text: str) -> None:
        if kind and kind is not self._flood_kind:
            log.warning("%s", text, extra=event("flood", verdict=kind.value))
        self._flood_kind = kind or self._flood_kind


def _log_end(incident: Incident, seconds: float) -> None:
    log.warning(
        "incident %s ended after %s: %s, %s, peak %d half-open, %.0f SYN/s",
        incident.id, format_duration(seconds), incident.kind, count(incident.bans, "ban"),
        incident.peak_half_open, incident.peak_syn_pps,
        extra=event(
            "incident-end", incident=incident.id, kind=incident.kind, seconds=seconds, bans=incident.bans,
            spared=incident.spared, peak_half_open=incident.peak_half_open, peak_syn_pps=incident.peak_syn_pps,
        ),
    )  # fmt: skip


_PHASE_WORDS: Final = {
    Phase.ATTACK: "under attack again",
    Phase.COOLING: "pressure is gone; watching whether it stays so",
    Phase.CALM: "calm",
}
