"""Decisions against the bans that stand: which bans to add, to move and to end; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from synguard.addresses import Network, NetworkIndex, first_found, forms
from synguard.fleet.decisions import CrowdSecDecision
from synguard.model import Action, Ban, Origin, Scope

POLICY: Final = "crowdsec"
"""The policy that bans of this origin name."""
SAME_S: Final = 5.0
"""Ends closer than this are the same: every answer counts the rest anew, and a complete look comes minutes later."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What brings the bans of origin ``crowdsec`` to what the decisions say."""

    add: tuple[Ban, ...] = ()
    move: tuple[Ban, ...] = ()
    """Bans that stand, with a new end."""
    end: tuple[Ban, ...] = ()
    protected: int = 0
    """Decisions that are not followed because the target covers, holds or is a protected party."""
    local: int = 0
    """Decisions about targets that a ban of this host stops already."""

    def __bool__(self) -> bool:
        return bool(self.add or self.move or self.end)


def plan(
    decisions: Mapping[Network, CrowdSecDecision],
    standing: Iterable[Ban],
    *,
    protected: Collection[Network],
    overruled: Collection[Network],
    now: datetime,
    gap: timedelta,
    dry_run: bool,
    new_id: Callable[[], str],
) -> Plan:
    """Return what to change.

    ``standing`` are all bans that stand, ``overruled`` the targets whose ban of this origin a person has ended by hand
    while the decision lasts. A ban of this host that outlasts ``gap`` is left alone: nothing that came in replaces
    local evidence, nor lengthens it; a decision that outlasts that ban is followed when it is about to end. One that
    does not is mostly this host's own, come back: in place of the ban it would keep the agent from renewing it.
    """
    ours: dict[Network, Ban] = {}
    local: dict[Network, Ban] = {}
    for ban in standing:
        if ban.origin is Origin.CROWDSEC:
            ours[ban.target] = ban
        elif ban.scope is Scope.ALL:
            local[ban.target] = ban
    parties = NetworkIndex(protected)
    add: list[Ban] = []
    move: list[Ban] = []
    spared = held = 0
    followed: set[Network] = set()
    for target, decision in decisions.items():
        if target in overruled:
            continue
        if first_found(parties.overlapping, forms(target)) is not None:
            spared += 1
            continue
        there = local.get(target)
        if there is not None and _stands_by_itself(there, decision, now + gap):
            held += 1
            continue
        followed.add(target)
        mine = ours.get(target)
        if mine is None:
            add.append(_ban(decision, now, dry_run, new_id()))
        elif mine.expires_at is None or abs((mine.expires_at - decision.ends_at).total_seconds()) > SAME_S:
            move.append(replace(mine, expires_at=decision.ends_at))
    end = tuple(ban for target, ban in ours.items() if target not in followed)
    return Plan(tuple(add), tuple(move), end, spared, held)


def _stands_by_itself(local: Ban, decision: CrowdSecDecision, soon: datetime) -> bool:
    if local.expires_at is None or local.expires_at > soon:
        return True
    return decision.ends_at <= local.expires_at + timedelta(seconds=SAME_S)


def _ban(decision: CrowdSecDecision, now: datetime, dry_run: bool, ban_id: str) -> Ban:
    return Ban(
        id=ban_id,
        target=decision.target,
        scope=Scope.ALL,
        action=Action.DROP,
        origin=Origin.CROWDSEC,
        policy=POLICY,
        reason=f"{decision.scenario} (CrowdSec, origin {decision.origin})",
        created_at=now,
        expires_at=decision.ends_at,
        dry_run=dry_run,
    )
