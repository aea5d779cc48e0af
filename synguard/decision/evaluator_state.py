"""What a verdict depends on beside the evidence, kept between ticks."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from synguard.addresses import Network, NetworkIndex
from synguard.decision.ban_times import RepeatOffenders
from synguard.decision.bans import ActiveBans
from synguard.decision.budget import BudgetGate
from synguard.decision.covered import CoveredOffenders
from synguard.decision.ladder import ChallengeState, gravity
from synguard.decision.prefix_aggregation import Offender
from synguard.decision.proven import ProvenPeers
from synguard.decision.syn_headers import ServedHeaders
from synguard.model import NEVER, Action, Ban, Scope
from synguard.readings import CONTAINERS, Protected

RENEW_WITHIN: Final = timedelta(seconds=2)
"""A ban this close to its end whose target is still over its limit is renewed, so that no gap opens."""
SHORTEST: Final = timedelta(seconds=1)
"""A ban just before the end of a trial lasts this long all the same."""
ROUNDING: Final = timedelta(milliseconds=500)
"""By how much the end of a trial, counted anew in every tick, may seem to move."""


@dataclass(slots=True)
class EvaluatorState:  # wide: one record of all that outlives a tick
    """What a verdict on an offender depends on, beside the evidence; lives as long as the engine."""

    new_id: Callable[[], str]
    chance: random.Random
    dry_run: bool
    budget: BudgetGate
    offenders: RepeatOffenders
    proven: ProvenPeers
    active_bans: ActiveBans = field(default_factory=ActiveBans)
    proved_at: float = float("-inf")
    """Monotonic seconds of the last look at completed handshakes."""
    asked_at: float | None = None
    """Since when completed handshakes are wanted that have not been read; None where they are not wanted."""
    protected: Protected = field(default_factory=lambda: Protected({}))
    protected_index: NetworkIndex = field(default_factory=lambda: NetworkIndex(()))
    containers: Mapping[Network, str] = field(default_factory=dict)
    """Containers of this host → reason, those that serve something and those that only connect."""
    containers_index: NetworkIndex = field(default_factory=lambda: NetworkIndex(()))
    challenge: ChallengeState = field(default_factory=ChallengeState)
    served_headers: ServedHeaders = field(default_factory=ServedHeaders)
    covered: CoveredOffenders = field(default_factory=CoveredOffenders)
    ends_by: datetime | None = None
    """No automatic ban lasts beyond this: the end of a trial of enforcement. None without one."""

    def standing(
        self, item: Offender, scope: Scope, ports: tuple[int, ...], action: Action, now: datetime
    ) -> Ban | None:
        """Return a ban that does as much to the target and need not be renewed yet, or None.

        Handshakes that speak against a target are those of served clients: a ban that lets these through stops none.
        """
        for_served = not item.forgeable
        ban = self.active_bans.covering(item.target, scope, ports, now, gravity(action), for_served=for_served)
        return ban if ban is not None and self.stands_long(ban, now) else None

    def stands_long(self, ban: Ban, now: datetime) -> bool:
        """Return whether an active ban needs no renewal yet, or could not be renewed for longer."""
        if ban.expires_at is None or now < renewed_from(ban):
            return True
        return self.ends_by is not None and ban.expires_at >= self.ends_by - ROUNDING

    def ends_at(self, now: datetime, seconds: float) -> datetime:
        """Return when an automatic ban of this length ends."""
        ends_at = now + timedelta(seconds=seconds)
        return ends_at if self.ends_by is None else min(ends_at, max(self.ends_by, now + SHORTEST))

    def protect(self, protected: Protected) -> None:
        """Take in who may never be banned from now on."""
        if protected != self.protected:
            self.protected = protected
            self.protected_index = NetworkIndex(protected.networks)
            serving = protected.parts.get(CONTAINERS, {})
            self.containers = {**protected.never_cut_off, **serving}
            self.containers_index = NetworkIndex(self.containers)


def renewed_from(ban: Ban) -> datetime:
    """Return when a ban is so near its end that it is renewed."""
    return NEVER if ban.expires_at is None else ban.expires_at - RENEW_WITHIN
