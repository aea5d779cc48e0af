"""What a running agent tells the other verbs."""

from __future__ import annotations

from typing import Final

from synguard.addresses import format_network
from synguard.decision.engine import Decision
from synguard.decision.scores import ACT, Scores
from synguard.detector.assessment import Assessment
from synguard.incidents import Phase
from synguard.model import VerdictKind
from synguard.status.conditions import Code, Severity, text_of, texts
from synguard.status.model import FloodStatus, IncidentStatus, ListenerStatus, Status, TargetStatus

MOST_LISTENERS: Final = 64
MOST_TARGETS: Final = 20
MOST_NOTES: Final = 12


def build_status(parts: Status, assessment: Assessment, decision: Decision, scores: Scores) -> Status:
    """Return the status of one tick: what the ``parts`` of the agent tell, and what the tick came to.

    Lists are cut so that the file stays small whatever happens.
    """
    problems = texts(parts.conditions, Severity.PROBLEM)
    return parts.model_copy(
        update={
            "healthy": not problems,
            "problems": problems,
            "notes": texts(parts.conditions, Severity.NOTE)[:MOST_NOTES],
            "plane_problem": text_of(parts.conditions, Code.PLANE_FAILED),
            "pressure": _pressure(assessment),
            "flood": FloodStatus.model_validate(assessment.flood),
            "verdict": decision.flood_verdict,
            "verdict_kind": decision.flood_kind,
            "targets": _targets(decision, scores),
            "incidents": _incidents(decision),
            "leaks": parts.leaks[:MOST_TARGETS],
        }
    )


def _pressure(assessment: Assessment) -> tuple[ListenerStatus, ...]:
    fullest = sorted(assessment.pressure, key=lambda listener: (-listener.fill, listener.port, listener.version))
    return tuple(ListenerStatus.model_validate(listener) for listener in fullest[:MOST_LISTENERS])


def _targets(decision: Decision, scores: Scores) -> tuple[TargetStatus, ...]:
    evaluated = {verdict.target: verdict for verdict in decision.verdicts if verdict.target is not None}
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
        for target, v in evaluated.items()
    ]
    for key, score in scores.highest(MOST_TARGETS):
        if key.target not in evaluated and score.points < ACT:
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
    return (IncidentStatus.model_validate(incident),)
