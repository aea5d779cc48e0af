"""What an account comes to: the verdict in one paragraph, decisions worth a look, what is not known, what to do next.

Everything here is computed from the account alone, so text, JSON and HTML say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from synguard.addresses import Network, format_network
from synguard.ledger.records import OVERLOOKED, BanRecord, Figure
from synguard.model import Evidence, Mode, Origin, Scope
from synguard.output.times import both_zones
from synguard.plain import count
from synguard.report.account import Account
from synguard.report.timeline import COMPLETE, Health, health_seconds, watched_words
from synguard.units import format_duration

CLOSE: Final = 1.5
"""Evidence less than this many times its limit is a close call."""
RETURNS: Final = 3
"""A target banned this often within its policy's memory is worth a look: the cause may lie here."""
A_DAY_S: Final = 86400.0
"""A dry-run shorter than this has not seen the host's usual peaks."""


@dataclass(frozen=True, slots=True)
class NotableDecision:
    """One target whose ban a person should look at before enforcing."""

    target: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The numbers and sentences at the head of a report."""

    headline: str
    """The verdict, one sentence with its numbers."""
    sentences: tuple[str, ...]
    """What else happened, the gravest first."""
    made: int
    """Automatic bans of the span …"""
    would_be: int
    """… and those that a dry run would have made."""
    false_positives: int | None
    """Clients that were served although a dry-run ban stood against them; None where no one looked."""
    looks: tuple[NotableDecision, ...]
    unknown: tuple[str, ...]
    """What the report cannot tell."""

    @property
    def paragraph(self) -> str:
        """The verdict and what else happened."""
        return " ".join((self.headline, *self.sentences))


def judged(account: Account) -> Judgement:
    """Return the judgement on an account."""
    automatic = [record for record in account.bans if record.ban.origin is Origin.AUTO]
    made = sum(not record.ban.dry_run for record in automatic)
    looks = tuple(_looks(account, automatic))
    false_positives = _false_positives(account)
    return Judgement(
        headline=_headline(account, made, len(automatic) - made, false_positives, looks),
        sentences=tuple(_sentences(account)),
        made=made,
        would_be=len(automatic) - made,
        false_positives=false_positives,
        looks=looks,
        unknown=tuple(_unknown(account)),
    )


def since_words(since: datetime, until: datetime) -> str:
    """Return since when, as people say it and exactly: ``Monday 14:02:11 CET (13:02:11 UTC)``."""
    weekday = f"{since.astimezone():%A} " if until - since <= timedelta(days=7) else ""
    return weekday + both_zones(since)


def over_limit(evidence: Iterable[Evidence]) -> float:
    """Return how many times its limit the worst of the evidence is; 0.0 without evidence."""
    return max((one.value / one.limit for one in evidence if one.limit > 0), default=0.0)


def _headline(
    account: Account, made: int, would_be: int, false_positives: int | None, looks: Sequence[NotableDecision]
) -> str:
    since = since_words(account.since, account.until)
    worth = f"{count(len(looks), 'decision', 'decisions')} worth a look"
    if account.enforced and (account.real or would_be):
        by_hand = len(account.real) - made
        hand = f", {by_hand} more by hand" if by_hand else ""
        packets = sum(record.packets for record in account.real)
        rest = f" and {count(would_be, 'dry-run ban')}" if would_be else ""
        bans = f"{count(made, 'automatic ban')}{rest}{hand}"
        return f"Since {since}: {bans}, {count(packets, 'packet')} stopped, {worth}."
    if account.mode is Mode.ENFORCE:
        return f"Enforcing since {since}: no ban was needed, {worth}."
    clients = "served clients refused: not known" if false_positives is None else _clients(false_positives)
    return f"Had you enforced since {since}: {count(would_be, 'ban')}, {clients}, {worth}."


def _clients(false_positives: int) -> str:
    return f"{false_positives:,} served {'client' if false_positives == 1 else 'clients'} refused"


def _false_positives(account: Account) -> int | None:
    """Return how many served clients dry-run bans would have turned away; None where no one looked."""
    if not account.clients_watched:
        return 0 if not account.dry_run_bans and account.timeline.share >= COMPLETE else None
    return sum(one.clients for one in account.false_positives.values())


def _sentences(account: Account) -> Iterator[str]:
    yield _incident_sentence(account)
    if account.real and not account.enforced:
        yield f"{count(len(account.real), 'ban', 'bans')} made by hand, which dry-run carries out."
    if not account.bans:
        yield "No target was banned or would have been."
    if account.spoofed:
        yield (
            "A flood came from forged addresses: banning those would only harm others; challenges and SYN cookies help."
        )
    health = health_seconds(account.timeline.stretches)
    if health.get(Health.DROPPED):
        lasted = format_duration(health[Health.DROPPED])
        yield f"For {lasted} SYNs were turned away because a queue was full, those of clients too."
    if health.get(Health.SLOW):
        yield f"For {format_duration(health[Health.SLOW])} the application was too slow to accept connections."
    if account.spared:
        yield f"{count(len(account.spared), 'target was', 'targets were')} over a limit and spared."
    yield watched_words(account.timeline)
    if not account.running:
        yield "No agent runs now."


def _incident_sentence(account: Account) -> str:
    incidents = account.incidents
    if not incidents:
        return "No attack was seen." if account.timeline.stretches else "No attack is known of."
    kinds = ", ".join(sorted({incident.kind for incident in incidents}))
    going = sum(incident.ended_at is None for incident in incidents)
    still = f"; {going} still under way" if going else ""
    return f"{count(len(incidents), 'attack', 'attacks')} ({kinds}){still}."


def _looks(account: Account, automatic: Iterable[BanRecord]) -> Iterator[NotableDecision]:
    """Yield the targets whose bans are worth a look, possible false positives first."""
    hurt: dict[str, list[str]] = {}
    for one in account.possible_false_positives:
        if one.somebody:
            hurt.setdefault(one.target, []).append(one.reason)
    reasons: dict[Network, dict[str, None]] = {}
    for record in automatic:
        ban = record.ban
        for reason in (*hurt.get(format_network(ban.target), ()), *_own_reasons(account, record)):
            reasons.setdefault(ban.target, {}).setdefault(reason)
    for target, found in sorted(reasons.items(), key=lambda pair: format_network(pair[0]) not in hurt):
        yield NotableDecision(format_network(target), tuple(found))


def _own_reasons(account: Account, record: BanRecord) -> Iterator[str]:
    ban = record.ban
    false_positives = account.false_positives.get(ban.id)
    if false_positives is not None and false_positives.clients:
        named = f": {', '.join(false_positives.examples)}" if false_positives.examples else ""
        yield f"{count(false_positives.clients, 'client')} in it would have been turned away{named}"
    over = over_limit(ban.evidence)
    if 0 < over < CLOSE:
        yield f"a close call: {over:.1f} times its limit"
    if ban.times >= RETURNS and ban.scope is Scope.ALL:
        yield f"banned {ban.times} times: a busy client, or many behind one address?"


def _unknown(account: Account) -> Iterator[str]:
    timeline = account.timeline
    if timeline.share < COMPLETE:
        gaps = timeline.gaps()
        longest = max(gaps, key=lambda gap: gap[1] - gap[0], default=None)
        which = ", the longest" if len(gaps) > 1 else ""
        where = f"{which} from {both_zones(longest[0])} to {both_zones(longest[1])}" if longest else ""
        yield f"What came while no agent ran: {count(len(gaps), 'gap', 'gaps')}{where}."
    blind_s = timeline.watched_s - timeline.known_s(Figure.HALF_OPEN)
    if blind_s > 1 and timeline.stretches:
        yield f"How many sockets were half-open for {format_duration(blind_s)}: that sensor could not read."
    censored_s = sum(one.censored_s for one in timeline.stretches)
    if censored_s:
        yield (
            f"How many sockets were half-open at the worst: a SYN queue was full for {format_duration(censored_s)}, "
            "and a full queue cannot show more. The true count was higher."
        )
    if account.dry_run_bans and health_seconds(timeline.stretches).get(Health.DROPPED):
        yield (
            "Whether clients tried to connect from what would have been banned while a full queue turned SYNs away: "
            "a handshake that is never completed names no client."
        )
    if any(one.kind == OVERLOOKED for one in account.actions):
        yield "All refused clients: at times there were more at once than an agent looks at, so there may be others."
    if account.dry_run_bans and not account.clients_watched:
        yield "Whether clients connected from what would have been banned: no agent looked."
    yield from account.cut


def judgement_shape(judgement: Judgement) -> dict[str, Any]:
    """Return the judgement as JSON."""
    return {
        "verdict": judgement.paragraph,
        "bans_automatic": judgement.made + judgement.would_be,
        "served_clients_touched": judgement.false_positives,
        "worth_a_look": [{"target": one.target, "reasons": list(one.reasons)} for one in judgement.looks],
        "not_known": list(judgement.unknown),
    }
