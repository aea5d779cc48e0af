"""What a running agent tells the other verbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from synguard.addresses import format_network
from synguard.decision.engine import Decision
from synguard.decision.scores import ACT, Scores
from synguard.detector.assessment import Assessment
from synguard.enforcer.plane import Plane
from synguard.enforcer.reconcile.capacity import CapacityLevel
from synguard.model import Phase, VerdictKind
from synguard.policy.models import Config, Policy
from synguard.status.conditions import Code, Condition, Severity, text_of, texts
from synguard.status.model import (
    ActiveBansStatus,
    AgentStatus,
    CapacityStatus,
    ChallengeStatus,
    CountermeasureStatus,
    FloodStatus,
    IncidentStatus,
    LeakStatus,
    ListenerStatus,
    SensorStatus,
    Status,
    TargetStatus,
    TotalsStatus,
)

MOST_LISTENERS: Final = 64
MOST_TARGETS: Final = 20
MOST_NOTES: Final = 12
NOTHING_YET: Final = TotalsStatus()
NO_CHALLENGES: Final = ChallengeStatus()


def build_status(  # a status gathers everything, once
    assessment: Assessment,
    decision: Decision,
    *,
    config: Config,
    policies: Sequence[Policy],
    plane: Plane,
    sensors: Mapping[str, SensorStatus],
    conditions: tuple[Condition, ...],
    scores: Scores,
    bans: int,
    proven: int,
    started_at: datetime,
    now: datetime,
    pid: int,
    countermeasures: tuple[CountermeasureStatus, ...] = (),
    leaks: tuple[LeakStatus, ...] = (),
    bans_by: tuple[ActiveBansStatus, ...] = (),
    challenges: ChallengeStatus = NO_CHALLENGES,
    totals: TotalsStatus = NOTHING_YET,
    sampling_one_in: int = 0,
    ledger_bytes: int = 0,
    levels: tuple[CapacityLevel, ...] = (),
    mode_by: str = "config",
    mode_story: str = "",
    confirm_by: datetime | None = None,
    agent: AgentStatus | None = None,
) -> Status:
    """Return the status of one tick; lists are cut so that the file stays small whatever happens."""
    problems = texts(conditions, Severity.PROBLEM)
    return Status(
        mode=config.mode,
        mode_by=mode_by,
        mode_story=mode_story,
        confirm_by=confirm_by,
        plane=plane.name,
        show_command=plane.show_command,
        healthy=not problems,
        conditions=conditions,
        problems=problems,
        pid=pid,
        started_at=started_at,
        last_reading_at=now,
        policies=tuple(policy.name for policy in policies),
        pressure=_pressure(assessment),
        flood=_flood(assessment),
        verdict=decision.flood_verdict,
        verdict_kind=decision.flood_kind,
        targets=_targets(decision, scores),
        incidents=_incidents(decision),
        countermeasures=countermeasures,
        leaks=leaks[:MOST_TARGETS],
        plane_problem=text_of(conditions, Code.PLANE_FAILED),
        notes=texts(conditions, Severity.NOTE)[:MOST_NOTES],
        bans_by=bans_by,
        challenges=challenges,
        totals=totals,
        sampling_one_in=sampling_one_in,
        ledger_bytes=ledger_bytes,
        ceilings=tuple(
            CapacityStatus(name=one.place, used=one.used, ceiling=one.ceiling, key=one.key) for one in levels
        ),
        bans_active=bans,
        proven_peers=proven,
        sensors=dict(sensors),
        agent=agent,
    )


def _pressure(assessment: Assessment) -> tuple[ListenerStatus, ...]:
    fullest = sorted(assessment.pressure, key=lambda listener: (-listener.fill, listener.port, listener.version))
    return tuple(
        ListenerStatus(
            port=listener.port,
            family=f"ipv{listener.version}",
            process=listener.process,
            half_open=listener.half_open,
            backlog=listener.backlog,
            fill=listener.fill,
            censored=listener.censored,
            accept_queue=listener.accept_queue,
            namespace=listener.namespace,
        )
        for listener in fullest[:MOST_LISTENERS]
    )


def _flood(assessment: Assessment) -> FloodStatus:
    flood = assessment.flood
    return FloodStatus(
        half_open=flood.half_open,
        connections=flood.connections,
        syn_pps=flood.syn_pps,
        completed_pps=flood.completed_pps,
        cookies_sent_pps=flood.cookies_sent_pps,
        cookies_received_pps=flood.cookies_received_pps,
        dropped_pps=flood.dropped_pps,
        accept_overflows_pps=flood.accept_overflows_pps,
    )


def _targets(decision: Decision, scores: Scores) -> tuple[TargetStatus, ...]:
    heard = {verdict.target: verdict for verdict in decision.verdicts if verdict.target is not None}
    told = [
        TargetStatus(
            target=format_network(target),
            kind=v.kind,
            score=round(v.score, 1),
            policy=v.policy,
            reason=v.reason,
            evidence=tuple(str(one) for one in v.evidence),
            forgeable=all(one.signal.forgeable for one in v.evidence),
        )
        for target, v in heard.items()
    ]
    for key, score in scores.highest(MOST_TARGETS):
        if key.target not in heard and score.points < ACT:
            told.append(
                TargetStatus(
                    target=format_network(key.target),
                    kind=VerdictKind.WATCH,
                    score=round(score.points, 1),
                    policy=key.policy,
                    reason=str(score.evidence),
                    evidence=(str(score.evidence),),
                    forgeable=score.evidence.signal.forgeable,
                )
            )
    return tuple(sorted(told, key=lambda target: -target.score)[:MOST_TARGETS])


def _incidents(decision: Decision) -> tuple[IncidentStatus, ...]:
    incident = decision.incident
    if incident is None or incident.phase is Phase.CALM:
        return ()
    return (
        IncidentStatus(
            id=incident.id,
            phase=incident.phase,
            kind=incident.kind,
            started_at=incident.started_at,
            note=incident.note,
            bans=incident.bans,
            spared=incident.spared,
        ),
    )
