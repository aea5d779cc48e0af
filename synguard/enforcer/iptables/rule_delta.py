"""A change as edits of one table without sets: which rules go, which come, and where in the chain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from synguard.addresses import Network
from synguard.enforcer.iptables.chains import ensure_chains, ensure_jumps, hooks_missing, replace_ours
from synguard.enforcer.iptables.rules import Rule, XtablesTable, ban_rules, exception_rule, stage_of
from synguard.enforcer.iptables.xtables import XTable, XtablesEntry
from synguard.enforcer.names import CHAIN, Kind, family_of, is_ours, parse_exception, parse_rule
from synguard.enforcer.plane import Delta
from synguard.model import Action, Ban, Hits, KernelBan, Scope

FoundException = tuple[Kind, Network]
Key = tuple[str, Network, Scope, Action, datetime | None]


TABLES_EACH: Final = 2
"""An exception stands in ``raw`` and in ``filter``."""


@dataclass(slots=True)
class FoundRules:
    """What the tables hold."""

    parts: dict[Key, list[KernelBan]] = field(default_factory=lambda: defaultdict(list))
    exceptions: dict[FoundException, int] = field(default_factory=lambda: defaultdict(int))
    """Exception → in how many tables of its family it stands."""

    def take(self, entry: XtablesEntry) -> None:
        """Note one rule of ours."""
        held = parse_rule(entry.comment)
        exception = parse_exception(entry.comment)
        if held is not None:
            self.parts[key_of(held)].append(replace(held, hits=Hits(entry.packets, entry.bytes)))
        elif exception is not None:
            self.exceptions[exception] += 1

    def bans(self) -> dict[str, KernelBan]:
        """Return ban id → ban, its rules taken together; what an interrupted change left has a key that no ban has."""
        bans: dict[str, KernelBan] = {}
        for key, parts in self.parts.items():
            name, count = key[0], 1
            while name in bans:
                count += 1
                name = f"{key[0]}#{count}"
            ports = sorted(port for part in parts for port in part.ports)
            hits = Hits(sum(part.hits.packets for part in parts), sum(part.hits.bytes for part in parts))
            bans[name] = replace(parts[0], ports=tuple(ports), hits=hits)
        return bans

    def whole(self, kind: Kind) -> frozenset[Network]:
        """Return the exceptions of one kind that stand in every table they should."""
        return frozenset(key[1] for key, count in self.exceptions.items() if key[0] is kind and count >= TABLES_EACH)

    def halves(self) -> frozenset[FoundException]:
        """Return the exceptions that stand in only some of their tables, or twice in one."""
        return frozenset(key for key, count in self.exceptions.items() if count != TABLES_EACH)


@dataclass(slots=True)
class RuleDelta:
    """A change as it concerns any one table."""

    bans: tuple[Ban, ...]
    outs: frozenset[Key]
    replaced: frozenset[str]
    exceptions_in: set[FoundException]
    exceptions_out: set[FoundException]

    @classmethod
    def of(cls, change: Delta, now: datetime) -> RuleDelta:
        """Return the plan for a change, less bans that have lapsed at ``now``."""
        bans = tuple(ban for ban in change.add if ban.active(now))
        return cls(
            bans=bans,
            outs=frozenset(key_of(held) for held in change.remove),
            replaced=frozenset(ban.id for ban in bans),
            exceptions_in={*_exceptions(change.allow_add, change.proven_add)},
            exceptions_out={*_exceptions(change.allow_remove, change.proven_remove)},
        )

    def carry_out(self, table: XTable, mend: bool) -> bool:
        """Edit one table; return whether anything was done."""
        changed = mend and _mend(table)
        coming = {rule.comment: rule for rule in self._rules_for(table.table)}
        packets, deleted = self._delete(table, coming)
        inserted = _insert(table, coming, packets)
        return changed or deleted or inserted

    def _rules_for(self, table: XtablesTable) -> Iterable[Rule]:
        for kind, network in sorted(self.exceptions_in, key=str):
            if family_of(network) == table.family:
                yield exception_rule(kind, network)
        for ban in self.bans:
            if family_of(ban.target) == table.family and ban.action is table.action:
                yield from ban_rules(ban)

    def _delete(self, table: XTable, coming: dict[str, Rule]) -> tuple[dict[str, list[int]], bool]:
        """Delete what goes, is replaced or stands twice; return the counts of each ban so deleted."""
        counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        going: list[int] = []
        seen: set[str] = set()
        for position, entry in enumerate(table.entries(CHAIN)):
            held = parse_rule(entry.comment)
            exception = parse_exception(entry.comment)
            if (held is None and exception is None) or not self._goes(held, exception, entry, coming, seen):
                seen.add(entry.comment)
                continue
            going.append(position)
            if held is not None:
                counts[held.ban_id][0] += entry.packets
                counts[held.ban_id][1] += entry.bytes
        for position in reversed(going):
            table.delete(CHAIN, position)
        return counts, bool(going)

    def _goes(
        self,
        held: KernelBan | None,
        exception: FoundException | None,
        entry: XtablesEntry,
        coming: dict[str, Rule],
        seen: set[str],
    ) -> bool:
        if entry.comment in seen:
            return True
        if entry.comment in coming:
            return False
        if held is not None:
            return held.ban_id in self.replaced or key_of(held) in self.outs
        return exception in self.exceptions_out


def _insert(table: XTable, coming: dict[str, Rule], counts: dict[str, list[int]]) -> bool:
    """Insert each rule that is not there at the end of its stage; the first of a ban takes over its old counts."""
    entries = table.entries(CHAIN)
    present = {entry.comment for entry in entries}
    stages = [stage_of(entry.comment) for entry in entries]
    inserted = False
    for comment, rule in coming.items():
        if comment in present:
            continue
        stage = stage_of(comment)
        if stage is None:
            raise AssertionError(comment)
        position = len(stages)
        while position > 0 and ((before := stages[position - 1]) is None or before > stage):
            position -= 1
        held = parse_rule(comment)
        packets, octets = counts.pop(held.ban_id, [0, 0]) if held is not None else [0, 0]
        table.insert(CHAIN, position, replace(rule, packets=packets, bytes=octets))
        stages.insert(position, stage)
        inserted = True
    return inserted


def _mend(table: XTable) -> bool:
    entries = [entry for entry in table.entries(CHAIN) if is_ours(entry.comment)]
    if not any(hooks_missing(table)) and in_order(entries):
        return False
    ensure_chains(table)
    if not in_order(entries):
        ordered = sorted(
            (entry for entry in entries if stage_of(entry.comment) is not None),
            key=lambda entry: stage_of(entry.comment) or 0,
        )
        replace_ours(table, CHAIN, [_again(entry) for entry in ordered])
    ensure_jumps(table)
    return True


def _again(entry: XtablesEntry) -> Rule:
    """Return the rule that an entry of ours says it is."""
    exception = parse_exception(entry.comment)
    held = parse_rule(entry.comment)
    if exception is not None:
        return exception_rule(*exception)
    if held is None:
        raise AssertionError(entry.comment)
    return next(iter(ban_rules(replace(held, hits=Hits(entry.packets, entry.bytes)))))


def in_order(entries: list[XtablesEntry]) -> bool:
    """Return whether rules of ours are all such that belong here, stage by stage."""
    stages = [stage_of(entry.comment) for entry in entries]
    known = [stage for stage in stages if stage is not None]
    return len(known) == len(stages) and known == sorted(known)


def key_of(held: KernelBan) -> Key:
    """Return what the rules of one ban have in common."""
    return held.ban_id, held.target, held.scope, held.action, held.expires_at


def _exceptions(allow: Iterable[Network], proven: Iterable[Network]) -> Iterable[FoundException]:
    yield from ((Kind.ALLOW, network) for network in allow)
    yield from ((Kind.PROVEN, network) for network in proven)
