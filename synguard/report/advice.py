"""What to do about a ban that is under review, and why; functions of what is known of it.

The order is fixed: never ban who is protected, never keep what another ban does already, then look at whether the
target still hits. Whoever accepts everything makes no ban longer than its policy allows for its evidence, and makes
permanent only what completed handshakes to do harm, again and again, from one address.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv6Network
from typing import Final

from synguard.addresses import EMBEDDING, Network, NetworkIndex, first_found, format_network, forms, one_party
from synguard.decision.ban_times import ban_seconds
from synguard.decision.bans import ActiveBans
from synguard.model import Ban, Origin, Scope
from synguard.plain import count
from synguard.policy.policies import BanTimes
from synguard.report.review import Candidate
from synguard.units import format_duration

QUIET_S: Final = 30 * 60.0
"""An automatic ban that stopped nothing for so long has done its work: its target has gone, or given up."""
IDLE_S: Final = 10 * 60.0
"""An automatic ban that never stopped anything in so long hits no one."""
PATIENCE_S: Final = 86400.0
"""A person's order is called quiet only after a day: whoever gave it may know of more than packets."""
MANY: Final = 5
"""Times that a target must have been banned in the ledger's memory before a ban without end is suggested."""
LONGEST_BY_HAND_S: Final = 7 * 86400.0
SHORTEST_S: Final = 30.0
"""An extension by less than this is not worth a change."""

_NO_JITTER: Final = random.Random(0)  # noqa: S311  # decides nothing: the jitter is set to none


class AdvisedStep(StrEnum):
    """What may be done to a ban under review."""

    KEEP = "keep"
    EXTEND = "extend"
    RELEASE = "release"
    PERMANENT = "make permanent"


@dataclass(frozen=True, slots=True)
class Advice:
    """What is suggested, and why."""

    step: AdvisedStep
    reason: str
    by_s: float = 0.0
    """How much longer, where it is to be extended."""

    @property
    def what(self) -> str:
        """The step in two or three words: ``extend by 8m``."""
        return f"extend by {format_duration(self.by_s)}" if self.step is AdvisedStep.EXTEND else str(self.step)

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


Reviewed = tuple[Candidate, Advice]


@dataclass(frozen=True, slots=True)
class Around:
    """What a suggestion depends on beside the ban itself."""

    active_bans: tuple[Ban, ...] = ()
    protected: Mapping[Network, str] = field(default_factory=dict)
    times: Mapping[str, BanTimes] = field(default_factory=dict)
    """Policy → how long its bans last."""
    embedding: tuple[IPv6Network, ...] = EMBEDDING
    """Prefixes whose addresses embed IPv4 ones, each of which is a party of its own."""
    leaks: frozenset[str] = frozenset()
    """Ids of bans whose targets arrive past our rules."""


def advise(found: Iterable[Candidate], around: Around, now: datetime) -> list[Reviewed]:
    """Return each with what is suggested for it."""
    parties = NetworkIndex(around.protected)
    by_kind = {
        dry_run: ActiveBans(ban for ban in around.active_bans if ban.dry_run is dry_run and ban.active(now))
        for dry_run in (False, True)
    }
    return [(one, _advice(one, around, parties, by_kind, now)) for one in found]


def can_be_forged(ban: Ban) -> bool:
    """Return whether a sender who lies about its address could have brought an automatic ban about."""
    if ban.origin is Origin.MANUAL:
        return False
    return ban.scope is Scope.NEW or not ban.evidence or any(one.signal.forgeable for one in ban.evidence)


def _advice(
    one: Candidate, around: Around, parties: NetworkIndex, by_kind: Mapping[bool, ActiveBans], now: datetime
) -> Advice:
    ban = one.record.ban
    party = first_found(parties.overlapping, forms(ban.target, around.embedding))
    if party is not None:
        why = f"{format_network(party)} is protected ({around.protected[party]})"
        if ban.forced:
            return Advice(AdvisedStep.KEEP, f"forced by a person, although {why}; it is not made longer")
        return Advice(AdvisedStep.RELEASE, f"{why} and must not be banned")
    real = by_kind[False].covering(ban.target, ban.scope, ban.ports, now) if ban.dry_run else None
    if real is not None:
        return Advice(AdvisedStep.RELEASE, f"the real ban of {format_network(real.target)} does it now")
    wider = by_kind[ban.dry_run].covering(ban.target, ban.scope, ban.ports, now)
    if wider is not None and wider.id != ban.id and _lasts_as_long(wider, ban):
        return Advice(AdvisedStep.RELEASE, f"the ban of {format_network(wider.target)} stops the same, for longer")
    if ban.id in around.leaks:
        return Advice(
            AdvisedStep.KEEP, "its target arrives past our rules: longer changes nothing, see synguard doctor"
        )
    if one.hitting:
        return _for_hitting(one, around, now)
    return _for_quiet(one, now)


def _lasts_as_long(wider: Ban, ban: Ban) -> bool:
    if wider.expires_at is None or ban.expires_at is None:
        return wider.expires_at is None
    return wider.expires_at >= ban.expires_at


def _for_hitting(one: Candidate, around: Around, now: datetime) -> Advice:
    ban, signs = one.record.ban, one.signs(now)
    if ban.expires_at is None:
        return Advice(AdvisedStep.KEEP, f"{signs}; it has no end")
    if _deserves_no_end(one, around):
        return Advice(
            AdvisedStep.PERMANENT,
            f"{signs}; banned {one.times} times, each time on completed connections, so the address is not forged",
        )
    lasts_s, how = _grown(ban, one.times, around)
    by_s = float(int(lasts_s - (ban.expires_at - now).total_seconds()))
    if by_s < SHORTEST_S:
        return Advice(AdvisedStep.KEEP, f"{signs}; it lasts as long as {how} allows, and is judged anew at its end")
    return Advice(AdvisedStep.EXTEND, f"{signs}; to {format_duration(lasts_s)} from now, as {how} grows bans", by_s)


def _deserves_no_end(one: Candidate, around: Around) -> bool:
    """Return whether a ban without end is to be suggested.

    Never on what can be forged, or anybody could have anybody shut out for good; never on a prefix of several parties,
    who did not all come back; never for one who came a few times, since addresses change hands.
    """
    ban = one.record.ban
    return (
        ban.origin is Origin.AUTO
        and not ban.dry_run
        and not can_be_forged(ban)
        and one.times >= MANY
        and one_party(ban.target, around.embedding)
    )


def _grown(ban: Ban, times: int, around: Around) -> tuple[float, str]:
    """Return how long the next ban of the target would last, seconds, and whose rule that is."""
    if ban.origin is Origin.MANUAL and ban.expires_at is not None:
        asked_s = (ban.expires_at - ban.created_at).total_seconds()
        return min(2 * asked_s, max(LONGEST_BY_HAND_S, asked_s)), "doubling a person's order"
    rule = around.times.get(ban.policy, BanTimes()).model_copy(update={"jitter": 0.0})
    lasts_s = ban_seconds(rule, times + 1, forgeable=can_be_forged(ban), chance=_NO_JITTER)
    return lasts_s, f"policy {ban.policy}"


def _for_quiet(one: Candidate, now: datetime) -> Advice:
    ban = one.record.ban
    stood_s = (now - ban.created_at).total_seconds()
    quiet = f"quiet for {format_duration(one.quiet_s)}"
    if ban.expires_at is None:
        return Advice(AdvisedStep.KEEP, f"a person's order without end; {quiet}")
    ends = f"ends by itself in {format_duration((ban.expires_at - now).total_seconds())}"
    by_hand = ban.origin is Origin.MANUAL
    if by_hand and one.quiet_s < PATIENCE_S:
        return Advice(AdvisedStep.KEEP, f"a person's order, {quiet}; it {ends}")
    if ban.dry_run:
        return Advice(AdvisedStep.RELEASE, "nothing of it is seen now: it would have been removed")
    if not one.record.packets and stood_s >= IDLE_S:
        return Advice(AdvisedStep.RELEASE, f"it has stopped nothing in {format_duration(stood_s)}")
    if one.quiet_s >= QUIET_S:
        return Advice(AdvisedStep.RELEASE, f"{quiet}, after {count(one.record.packets, 'packet')}")
    return Advice(AdvisedStep.KEEP, f"{quiet} only; it {ends}")
