"""Offenders under an active ban already: their verdict stands, tick after tick, until what it rests on changes."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from synguard.addresses import Network
from synguard.decision.prefix_aggregation import Offender
from synguard.model import Signal
from synguard.policy.models import Policy

MOST_KNOWN: Final = 4_096
"""Offenders whose verdict is kept: four ticks with as many others each as get one; then all are judged anew."""

_Grounds = tuple[tuple[Signal, tuple[int, ...]], ...]
_Key = tuple[str, Network, bool]


class _Covered(NamedTuple):
    policy: Policy
    grounds: _Grounds
    """The signals and ports that speak against the target."""
    until: datetime
    """When its ban is near its end."""
    reason: str


class CoveredOffenders:
    """The reasons for which nothing more is done about offenders, kept from tick to tick."""

    def __init__(self) -> None:
        self._known: dict[_Key, _Covered] = {}
        self._rests_on: object = None

    def begin(self, rests_on: object) -> None:
        """Begin a tick in which verdicts rest on this; nothing is kept from a tick with another, or with None."""
        if rests_on is None or rests_on != self._rests_on or len(self._known) >= MOST_KNOWN:
            self._known = {}
        self._rests_on = rests_on

    def reason(self, item: Offender, policy: Policy, now: datetime) -> str:
        """Return the reason that stands; empty where the target must be judged, or be judged anew."""
        known = self._known.get((policy.name, item.target, item.forgeable)) if self._known else None
        if known is None or known.policy is not policy or now >= known.until or known.grounds != _grounds(item):
            return ""
        return known.reason

    def keep(self, item: Offender, policy: Policy, until: datetime, reason: str) -> None:
        """Keep the reason for as long as nothing changes, and not beyond ``until``."""
        if self._rests_on is not None:
            key = (policy.name, item.target, item.forgeable)
            self._known[key] = _Covered(policy, _grounds(item), until, reason)


def _grounds(item: Offender) -> _Grounds:
    return tuple((evidence.signal, evidence.ports) for evidence in item.evidence)
