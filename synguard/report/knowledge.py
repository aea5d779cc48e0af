"""What is known of one address: protection, present score, verdicts and bans with their evidence, limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from synguard.addresses import Network, covers, format_network
from synguard.ledger.records import BanRecord, VerdictRecord
from synguard.model import Action, Ban, Scope, Signal
from synguard.output.times import both_zones, clock_time
from synguard.plain import listed
from synguard.policy.models import Policy
from synguard.report.ban_table import by, counted, state, tells_evidence
from synguard.report.policy_view import limits_text
from synguard.report.shapes import record_shape, verdict_shape
from synguard.status.model import LeakStatus, TargetStatus

_SHOWN: Final = 10
"""Bans and verdicts reported in text; --json has all."""
_PARTS: Final = 3
"""Banned parts of a prefix that its first line names."""
_WEAKER: Final = (Action.DROP, Action.REJECT, Action.LIMIT, Action.CHALLENGE)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """All of it."""

    network: Network
    protected: Mapping[Network, str]
    own: bool
    sockets: Mapping[str, int]
    """TCP state → sockets now."""
    targets: tuple[TargetStatus, ...]
    """What a running agent says of it now."""
    bans: tuple[BanRecord, ...]
    verdicts: tuple[VerdictRecord, ...]
    policies: tuple[Policy, ...]
    warnings: tuple[str, ...] = ()
    leaks: tuple[LeakStatus, ...] = ()
    """Bans of it that stop nothing although it still arrives, as a running agent says now."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Ban id → where in the kernel its packets are stopped and counted, and the command that shows it."""
    stopped: frozenset[Network] | None = None
    """Targets that the kernel stops now; None where it could not be read."""

    @property
    def known(self) -> bool:
        """Whether anything was ever seen or said of it."""
        return bool(self.targets or self.bans or self.verdicts or self.protected or self.sockets)

    def banned(self, now: datetime) -> tuple[BanRecord, ...]:
        """Return the bans that stop all of it now, the one that stops most first, those of one header last.

        Dry-run bans stop no one, nor does what is not in the kernel; only a forced ban stops the protected.
        """
        held = [one for one in self._held(now) if covers(one.ban.target, self.network)]
        if any(covers(one, self.network) for one in self.protected) and not any(one.ban.forced for one in held):
            return ()
        return tuple(sorted(held, key=lambda one: _strength(one.ban)))

    def inside(self, now: datetime) -> tuple[BanRecord, ...]:
        """Return the bans that stop a part of it now."""
        return tuple(one for one in self._held(now) if not covers(one.ban.target, self.network))

    def passed(self, now: datetime) -> tuple[BanRecord, ...]:
        """Return the bans in the kernel that would stop all of it, were it not protected."""
        return () if self.banned(now) else tuple(one for one in self._held(now) if covers(one.ban.target, self.network))

    def absent(self, now: datetime) -> tuple[BanRecord, ...]:
        """Return the bans that stand and that the kernel does not hold."""
        return tuple(one for one in self._real(now) if self.in_kernel(one, now) is False)

    def _held(self, now: datetime) -> Iterator[BanRecord]:
        return (one for one in self._real(now) if self.in_kernel(one, now) is not False)

    def _real(self, now: datetime) -> Iterator[BanRecord]:
        return (one for one in self.bans if one.stands(now) and not one.ban.dry_run)

    def in_kernel(self, record: BanRecord, now: datetime) -> bool | None:
        """Return whether the kernel holds a ban now; None where it could not be read."""
        if record.ban.dry_run or not record.stands(now):
            return False
        return None if self.stopped is None else record.ban.target in self.stopped


def knowledge_shape(known: Knowledge, now: datetime) -> dict[str, Any]:
    """Return it as JSON."""
    return {
        "address": format_network(known.network),
        "known": known.known,
        "banned": bool(known.banned(now)),
        "own": known.own,
        "protected": [{"network": format_network(one), "reason": why} for one, why in known.protected.items()],
        "score": max((one.score for one in known.targets), default=0.0),
        "now": [one.model_dump(mode="json") for one in known.targets],
        "sockets": dict(known.sockets),
        "bans": [record_shape(one, now) | {"in_kernel": known.in_kernel(one, now)} for one in known.bans],
        "verdicts": [verdict_shape(one) for one in known.verdicts],
        "limits": [_limits_shape(known.network, one) for one in known.policies],
        "leaks": [one.model_dump(mode="json") for one in known.leaks],
        "warnings": list(known.warnings),
    }


def knowledge_lines(known: Knowledge, now: datetime) -> Iterator[str]:
    """Yield it for people: the answer first, then its grounds, and what several grounds share once."""
    answer = _answer(known, now)
    told = {answer.partition(": ")[2]}
    yield f"{format_network(known.network)} {answer}"
    yield from (f"  PROBLEM: {one.text}" for one in known.leaks)
    if known.own:
        yield "  this host itself, or a prefix that holds it: never banned, not even with --force"
    for party, why in list(known.protected.items())[:_SHOWN]:
        yield f"  protected: {format_network(party)}, {why}"
    for one in known.targets:
        yield f"  now: {one.kind} {one.target}, score {one.score:.0f} of 100, policy {one.policy}: {one.reason}"
    if known.sockets:
        yield "  sockets now: " + ", ".join(f"{count} {name}" for name, count in known.sockets.items())
    for record in known.bans[:_SHOWN]:
        yield from _ban_lines(record, now, known, told)
    for verdict in known.verdicts[:_SHOWN]:
        yield from _verdict_lines(verdict, now, told)
    hidden = len(known.bans[_SHOWN:]) + len(known.verdicts[_SHOWN:])
    if hidden:
        yield f"  and {hidden} older entries; --json has them all"
    for policy in known.policies:
        limits = limits_text(partial(policy.limit_for, target=known.network))
        yield f"  limits on ports {policy.ports} ({policy.name}): {limits}"
    for warning in known.warnings:
        yield f"  not known: {warning}"


def _answer(known: Knowledge, now: datetime) -> str:
    active_bans = known.banned(now)
    if active_bans:
        ban = active_bans[0].ban
        until = "permanently" if ban.expires_at is None else f"until {both_zones(ban.expires_at)}"
        by = "" if ban.target == known.network else f" by the ban of {format_network(ban.target)}"
        return f"is {ban.standing}{by} {until}: {ban.reason}"
    if passed := known.passed(now):
        return f"is protected: its packets pass the ban of {format_network(passed[0].ban.target)}"
    absent = known.absent(now)
    if absent:
        return f"is NOT stopped: its ban {absent[0].ban.id} is NOT IN KERNEL; ban it again, or see synguard doctor"
    if inside := known.inside(now):
        return f"is not banned as a whole; {_parts(inside)}"
    would_be = sorted((one for one in known.bans if one.stands(now)), key=lambda one: one.ban.header is not None)
    if would_be:
        return f"would be {'challenged' if would_be[0].ban.action.challenges else 'banned'}, but this is a dry run"
    if any(covers(one, known.network) for one in known.protected):
        return "is protected"
    if known.protected:
        return "is not banned; it holds whom synguard protects"
    return "is not banned" if known.known else "is unknown: never over a limit, never banned, not connected"


def _strength(ban: Ban) -> tuple[bool, bool, int]:
    """Return what sorts the bans of one target, the one that stops most first."""
    return ban.header is not None, ban.scope is Scope.NEW, _WEAKER.index(ban.action)


def _parts(inside: Sequence[BanRecord]) -> str:
    """Return which parts are stopped: ``challenged in it: 203.0.113.7``."""
    by_standing: dict[str, list[str]] = {}
    for one in inside:
        by_standing.setdefault(one.ban.standing, []).append(format_network(one.ban.target))
    return "; ".join(f"{standing} in it: {listed(found, _PARTS)}" for standing, found in by_standing.items())


def _ban_lines(record: BanRecord, now: datetime, known: Knowledge, told: set[str]) -> Iterator[str]:
    ban, held = record.ban, known.in_kernel(record, now)
    until = "permanently" if ban.expires_at is None else f"until {clock_time(ban.expires_at, now)}"
    there = "NOT IN KERNEL" if held is False and record.stands(now) and not ban.dry_run else state(record, now)
    yield (
        f"  ban {ban.id} of {format_network(ban.target)}, {there}: {ban.scope}, {ban.effect}, "
        f"{clock_time(ban.created_at, now)} {until}, {counted(record, now)}"
    )
    yield f"      by {by(ban)}" if ban.reason in told | {"by hand"} else f"      by {by(ban)}: {ban.reason}"
    told.add(ban.reason)
    if held and ban.id in known.places:
        yield f"      stopped by {known.places[ban.id]}"
    for one in () if tells_evidence(ban) else ban.evidence:
        yield f"      evidence: {one}"


def _verdict_lines(record: VerdictRecord, now: datetime, told: set[str]) -> Iterator[str]:
    verdict = record.verdict
    target = "the whole flood" if verdict.target is None else format_network(verdict.target)
    yield (
        f"  verdict {verdict.kind} on {target}, score {verdict.score:.0f}, "
        f"{clock_time(record.first_at, now)} to {clock_time(record.last_at, now)}, policy {verdict.policy}"
    )
    if verdict.reason not in told:
        yield f"      {verdict.reason}"
    told.add(verdict.reason)
    for one in () if tells_evidence(verdict) else verdict.evidence:
        yield f"      evidence: {one}"


def _limits_shape(network: Network, policy: Policy) -> dict[str, Any]:
    limits = {signal.value: policy.limit_for(signal, network) for signal in Signal}
    return {"policy": policy.name, "ports": policy.ports} | limits
