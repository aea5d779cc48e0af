"""Decisions against the active bans: which bans to add, to move and to end; no I/O."""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Network, ip_network
from socket import AF_INET, inet_pton
from typing import Final

from synguard.addresses import EMBEDDING, Network, NetworkIndex, first_found, forms
from synguard.fleet.decisions import CrowdSecDecision
from synguard.ledger.arrivals import ActiveRow, Arrival
from synguard.model import Origin, Scope

POLICY: Final = "crowdsec"
"""The policy that bans of this origin name."""
SAME_S: Final = 5.0
"""Ends closer than this are the same: every answer counts the rest anew, and a complete look comes minutes later."""
_US: Final = 1_000_000
_ID_BYTES: Final = 6


@dataclass(frozen=True, slots=True)
class Plan:
    """What brings the bans of origin ``crowdsec`` to what the decisions say."""

    add: tuple[Arrival, ...] = ()
    move: Mapping[str, datetime] = field(default_factory=dict)
    """Id of an active ban → its new end."""
    end: tuple[str, ...] = ()
    """Ids of active bans."""
    protected: int = 0
    """Decisions that are not followed because the target covers, holds or is a protected party."""
    local: int = 0
    """Decisions about targets that a ban of this host stops already."""

    def __bool__(self) -> bool:
        return bool(self.add or self.move or self.end)


def plan(
    decisions: Mapping[str, CrowdSecDecision],
    active: Iterable[ActiveRow],
    *,
    protected: Collection[Network],
    embedding: Iterable[IPv6Network] = EMBEDDING,
    overruled: AbstractSet[str],
    now: datetime,
    gap: timedelta,
) -> Plan:
    """Return what to change.

    ``active`` are all active bans, ``overruled`` the targets whose ban of this origin a person has ended by hand
    while the decision lasts. A ban of this host that outlasts ``gap`` is left alone: nothing that came in replaces
    local evidence, nor lengthens it; a decision that outlasts that ban is followed when it is about to end. One that
    does not is mostly this host's own, come back: in place of the ban it would keep the agent from renewing it.
    """
    ours: dict[str, ActiveRow] = {}
    local: dict[str, ActiveRow] = {}
    for ban in active:
        if ban.origin == Origin.CROWDSEC:
            ours[ban.target] = ban
        elif ban.scope == Scope.ALL:
            local[ban.target] = ban
    spared = protected_targets((target for target in decisions if target not in overruled), protected, embedding)
    out = spared | overruled
    soon_us = (now + gap).timestamp() * _US
    held = {
        target
        for target, ban in local.items()
        if target in decisions and target not in out and _stands_by_itself(ban, decisions[target], soon_us)
    }
    out |= held
    fresh = [decision for target, decision in decisions.items() if target not in out and target not in ours]
    stay = {target for target in ours if target in decisions and target not in out}
    move = {
        mine.id: datetime.fromtimestamp(decisions[target].ends_at, UTC)
        for target, mine in ours.items()
        if target in stay and abs((mine.expires_at or 0) - decisions[target].ends_at * _US) > SAME_S * _US
    }
    end = tuple(mine.id for target, mine in ours.items() if target not in stay)
    return Plan(_bans(fresh), move, end, len(spared), len(held))


def protected_targets(
    targets: Iterable[str], protected: Collection[Network], embedding: Iterable[IPv6Network] = EMBEDDING
) -> set[str]:
    """Return which targets are, cover, or lie in a protected party.

    An address, as nearly all are, is looked up among the parties as ranges; a prefix, and IPv6, in every form it has.
    """
    parties = NetworkIndex(protected)
    starts, ends = _ranges(party for party in protected if party.version == 4)
    found: set[str] = set()
    for target in targets:
        if ":" in target or "/" in target:
            if first_found(parties.overlapping, forms(ip_network(target), embedding)) is not None:
                found.add(target)
        else:
            host = inet_pton(AF_INET, target)
            at = bisect_right(starts, host)
            if at and host <= ends[at - 1]:
                found.add(target)
    return found


def _ranges(networks: Iterable[Network]) -> tuple[list[bytes], list[bytes]]:
    """Return the first and the last addresses of the ranges that networks of one family make up, in order."""
    starts: list[bytes] = []
    ends: list[bytes] = []
    for network in sorted(networks, key=lambda one: (int(one.network_address), one.prefixlen)):
        first, last = network.network_address.packed, network.broadcast_address.packed
        if not ends or last > ends[-1]:
            starts.append(first)
            ends.append(last)
    return starts, ends


def _stands_by_itself(local: ActiveRow, decision: CrowdSecDecision, soon_us: float) -> bool:
    if local.expires_at is None or local.expires_at > soon_us:
        return True
    return decision.ends_at * _US <= local.expires_at + SAME_S * _US


def _bans(decisions: Collection[CrowdSecDecision]) -> tuple[Arrival, ...]:
    chance = secrets.token_hex(_ID_BYTES * len(decisions))
    width = 2 * _ID_BYTES
    return tuple(
        Arrival(f"c{chance[width * number : width * number + width]}", target, ends_at, reason)
        for number, (target, _, reason, ends_at) in enumerate(decisions)
    )
