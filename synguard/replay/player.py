"""The agent's turn without its hands: recorded readings in, decisions out, the same every time."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count

from synguard.addresses import Network
from synguard.decision.bans import ActiveBans
from synguard.decision.engine import Decision, Engine
from synguard.decision.scores import Scores
from synguard.detector.assessment import Assessment
from synguard.detector.detector import Detector
from synguard.model import Ban, Mode
from synguard.policy.models import Config, Policy
from synguard.readings import Protected
from synguard.recording.shape import Moment


@dataclass(frozen=True, slots=True)
class ReplayStep:
    """One recorded tick and what came of it."""

    moment: Moment
    assessment: Assessment
    decision: Decision


class Player:
    """Judges one recording's moments, in order, by some policies."""

    def __init__(
        self,
        config: Config,
        policies: Sequence[Policy],
        seed: int = 0,
        allowed: Mapping[Network, str] | None = None,
    ) -> None:
        """Take policies; ``allowed`` (network → reason) is protected beside whom the recording names."""
        numbers = count(1)
        self._engine = Engine(
            config.model_copy(update={"mode": Mode.DRY_RUN}),
            policies,
            new_id=lambda: f"r{next(numbers)}",
            chance=random.Random(seed),  # noqa: S311  # jitter is no secret, and must be the same every time
        )
        self._detector = Detector(policies, seed)
        self._allowed = dict(allowed or {})
        self._recorded: Protected | None = None
        self._bans: list[Ban] = []

    @property
    def scores(self) -> Scores:
        """The scores as of the last moment."""
        return self._engine.scores

    def play(self, moment: Moment) -> ReplayStep:
        """Return what one moment comes to."""
        if moment.protected is not self._recorded:
            self._recorded = moment.protected
            self._engine.evaluator_state.protect(
                replace(moment.protected, networks={**moment.protected.networks, **self._allowed})
            )
        self._expire(moment.utc)
        assessment = self._detector.assess(
            moment.readings, self._engine.evaluator_state.active_bans.ban_filter(moment.utc)
        )
        decision = self._engine.decide(assessment, moment.utc)
        self._bans.extend(decision.bans)
        return ReplayStep(moment, assessment, decision)

    def _expire(self, now: datetime) -> None:
        if any(not ban.active(now) for ban in self._bans):
            self._bans = [ban for ban in self._bans if ban.active(now)]
            self._engine.evaluator_state.active_bans = ActiveBans(self._bans)
