"""What this host tells others: bans on handshake-proven evidence with a decision, incidents without one; pure.

A source address in a SYN can be forged, so a ban on such evidence is never shared as a decision: one forged flood would
have the framed address refused on every host of the fleet.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from synguard.addresses import Network, format_network
from synguard.fleet.durations import format_go_duration
from synguard.incidents import Incident
from synguard.model import Action, Ban, Origin, Scope
from synguard.plain import count

ORIGIN: Final = "synguard"
CONNECTION_FLOOD: Final = "synguard/connection-flood"
SCENARIOS: Final = {
    "connection-flood": CONNECTION_FLOOD,
    "syn-flood": "synguard/syn-flood",
    "spoofed-flood": "synguard/spoofed-source-flood",
}
"""Kind of incident → scenario."""
SHORTEST_S: Final = 5.0
"""A ban with less time left is not worth a decision: others would see it after its end."""


def shareable(ban: Ban) -> bool:
    """Return whether a ban may become a decision for other hosts: automatic, real, and proven by handshakes alone."""
    return (
        ban.origin is Origin.AUTO
        and not ban.dry_run
        and ban.scope is Scope.ALL
        and ban.action in (Action.DROP, Action.REJECT)
        and bool(ban.evidence)
        and not any(evidence.signal.forgeable for evidence in ban.evidence)
    )


def ban_alert(ban: Ban, now: datetime) -> dict[str, object] | None:
    """Return the alert for a shareable ban, with a decision that ends when the ban does; None where it is too late.

    CrowdSec counts a decision's time from ``stop_at``, which therefore is ``now``, not when the ban began.
    """
    if ban.expires_at is None or (left_s := (ban.expires_at - now).total_seconds()) < SHORTEST_S:
        return None
    source = _source(ban.target)
    decision = {
        "duration": format_go_duration(left_s),
        "origin": ORIGIN,
        "scenario": CONNECTION_FLOOD,
        "scope": source["scope"],
        "type": "ban",
        "value": source["value"],
    }
    meta = [{"key": str(one.signal), "value": str(one)} for one in ban.evidence]
    meta.append({"key": "policy", "value": ban.policy})
    alert = _alert(CONNECTION_FLOOD, ban.reason, source, ban.created_at, now)
    return {**alert, "decisions": [decision], "meta": meta}


def incident_alert(incident: Incident, host: str, now: datetime) -> dict[str, object]:
    """Return the alert for an incident that has ended, without a decision: it names this host, no source."""
    text = (
        f"{incident.kind} on {host}: peak {incident.peak_syn_pps:.0f} SYN/s, {incident.peak_half_open} half-open, "
        f"{count(incident.sources, 'source')} over a limit, {count(incident.bans, 'ban')}"
    )
    scenario = SCENARIOS.get(incident.kind, SCENARIOS["syn-flood"])
    source: dict[str, str] = {"scope": "host", "value": host}
    return _alert(scenario, text, source, incident.started_at, incident.ended_at or now)


def _source(target: Network) -> dict[str, str]:
    value = format_network(target)
    if "/" in value:
        return {"scope": "Range", "value": value, "range": value}
    return {"scope": "Ip", "value": value, "ip": value}


def _alert(scenario: str, text: str, source: dict[str, str], start: datetime, stop: datetime) -> dict[str, object]:
    """Return all the fields that CrowdSec 1.4.6 wants; a missing one answers 500."""
    return {
        "scenario": scenario,
        "scenario_hash": "",
        "scenario_version": "",
        "message": text,
        "events_count": 1,
        "start_at": _time(start),
        "stop_at": _time(stop),
        "capacity": 0,
        "leakspeed": "0",
        "simulated": False,
        "remediation": False,
        "events": [],
        "source": source,
    }


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
