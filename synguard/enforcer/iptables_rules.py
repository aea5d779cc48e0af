"""The iptables plane without ipset: one rule per ban, which the kernel itself stops matching at the expiry.

A lapsed rule costs a comparison until the next full read sweeps it away.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar

from synguard.addresses import Network
from synguard.enforcer import flush, ipset
from synguard.enforcer.capabilities import require_capabilities
from synguard.enforcer.diff import after, without_lapsed
from synguard.enforcer.frame import edit, ensure_chains, ensure_jumps, hooks_missing, replace_ours, strangers
from synguard.enforcer.limits import ensure_possible
from synguard.enforcer.names import CHAIN, Family, Kind, family_of, is_ours, parse_exception, parse_rule
from synguard.enforcer.plane import Actual, Change
from synguard.enforcer.rules import Rule, Table, ban_rules, exception_rule, stage_of, tables
from synguard.enforcer.tables import check_tables, look_over, show_chains
from synguard.enforcer.xtables import Entry, XTable, families_here
from synguard.errors import PlaneError
from synguard.model import Action, Ban, Held, Hits, Scope

_Exception = tuple[Kind, Network]
_Key = tuple[str, Network, Scope, Action, datetime | None]


@dataclass(slots=True)
class _Found:
    """What the tables hold."""

    parts: dict[_Key, list[Held]] = field(default_factory=lambda: defaultdict(list))
    exceptions: dict[_Exception, int] = field(default_factory=lambda: defaultdict(int))
    """Exception → in how many tables of its family it stands."""

    def take(self, entry: Entry) -> None:
        held = parse_rule(entry.comment)
        exception = parse_exception(entry.comment)
        if held is not None:
            self.parts[_key(held)].append(replace(held, hits=Hits(entry.packets, entry.bytes)))
        elif exception is not None:
            self.exceptions[exception] += 1

    def bans(self) -> dict[str, Held]:
        bans: dict[str, Held] = {}
        for key, parts in self.parts.items():
            name, count = key[0], 1
            while name in bans:  # remains of an interrupted change: unwanted under this name, so removed
                count += 1
                name = f"{key[0]}#{count}"
            ports = sorted(port for part in parts for port in part.ports)
            hits = Hits(sum(part.hits.packets for part in parts), sum(part.hits.bytes for part in parts))
            bans[name] = replace(parts[0], ports=tuple(ports), hits=hits)
        return bans

    def whole(self, kind: Kind, tables_each: int) -> frozenset[Network]:
        return frozenset(key[1] for key, count in self.exceptions.items() if key[0] is kind and count >= tables_each)

    def halves(self, tables_each: int) -> frozenset[_Exception]:
        return frozenset(key for key, count in self.exceptions.items() if count != tables_each)


_TABLES_EACH = 2
"""An exception stands in ``raw`` and in ``filter``."""


class IptablesRules:
    """Legacy xtables alone."""

    name: ClassVar[str] = "iptables-rules"

    def __init__(self, utcnow: Callable[[], datetime]) -> None:
        self._utcnow = utcnow
        self._families = families_here()
        self._tables = tables(self._families)
        self._idle = Actual()
        """What is for a family that this host does not speak: held without a rule, since no such packet can come."""

    @property
    def show_command(self) -> str:
        """The command that shows an operator our rules."""
        return show_chains()

    def check(self) -> None:
        """Return if capabilities and tables are there; see `Plane.check`."""
        require_capabilities()
        check_tables(self._tables)

    def read(self) -> Actual:
        """Read back the chains; rules that have lapsed are still there and are told of."""
        found, missing, foreign = self._find()
        missing += [f"{kind} {network} in one of two tables" for kind, network in found.halves(_TABLES_EACH)]
        self._idle = without_lapsed(self._idle, self._utcnow())
        return Actual(
            bans={**self._idle.bans, **found.bans()},
            allow=found.whole(Kind.ALLOW, _TABLES_EACH) | self._idle.allow,
            proven=found.whole(Kind.PROVEN, _TABLES_EACH) | self._idle.proven,
            intact=not missing,
            missing=tuple(missing),
            strangers=tuple(foreign),
        )

    def apply(self, change: Change) -> None:
        """Make the change with one commit per table that it touches."""
        if not change:
            return
        ensure_possible(change)
        plan = _Plan.of(change, self._utcnow())
        if change.frame:
            plan.exceptions_out |= self._find()[0].halves(_TABLES_EACH) - plan.exceptions_in
        for table in self._tables:
            edit(table, lambda copy: plan.carry_out(copy, mend=change.frame))
        if change.frame:
            _destroy_left_over_sets()
        self._idle = after(self._idle, _for_others(change, self._families))

    def flush(self) -> None:
        """Remove everything of ours, of every plane and release."""
        self._idle = Actual()
        flush.flush_kernel()

    def _find(self) -> tuple[_Found, list[str], list[str]]:
        found = _Found()

        def look(table: XTable) -> tuple[list[str], list[str]]:
            entries = [entry for entry in table.entries(CHAIN) if is_ours(entry.comment)]
            for entry in entries:
                found.take(entry)
            missing = list(hooks_missing(table))
            if not _in_order(entries):
                missing.append(f"{table.table}: the rules of {CHAIN} or their order")
            return missing, list(strangers(table))

        missing, foreign = look_over(self._tables, look)
        return found, missing, foreign


@dataclass(slots=True)
class _Plan:
    """A change as it concerns any one table."""

    bans: tuple[Ban, ...]
    outs: frozenset[_Key]
    replaced: frozenset[str]
    exceptions_in: set[_Exception]
    exceptions_out: set[_Exception]

    @classmethod
    def of(cls, change: Change, now: datetime) -> _Plan:
        bans = tuple(ban for ban in change.add if ban.active(now))
        return cls(
            bans=bans,
            outs=frozenset(_key(held) for held in change.remove),
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

    def _rules_for(self, table: Table) -> Iterable[Rule]:
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
        self, held: Held | None, exception: _Exception | None, entry: Entry, coming: dict[str, Rule], seen: set[str]
    ) -> bool:
        if entry.comment in seen:
            return True
        if entry.comment in coming:
            return False
        if held is not None:
            return held.ban_id in self.replaced or _key(held) in self.outs
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
    if not any(hooks_missing(table)) and _in_order(entries):
        return False
    ensure_chains(table)
    if not _in_order(entries):
        ordered = sorted(
            (entry for entry in entries if stage_of(entry.comment) is not None),
            key=lambda entry: stage_of(entry.comment) or 0,
        )
        replace_ours(table, CHAIN, [_again(entry) for entry in ordered])
    ensure_jumps(table)
    return True


def _again(entry: Entry) -> Rule:
    """Return the rule that an entry of ours says it is."""
    exception = parse_exception(entry.comment)
    held = parse_rule(entry.comment)
    if exception is not None:
        return exception_rule(*exception)
    if held is None:
        raise AssertionError(entry.comment)
    return next(iter(ban_rules(replace(held, hits=Hits(entry.packets, entry.bytes)))))


def _in_order(entries: list[Entry]) -> bool:
    stages = [stage_of(entry.comment) for entry in entries]
    known = [stage for stage in stages if stage is not None]
    return len(known) == len(stages) and known == sorted(known)


def _key(held: Held) -> _Key:
    return held.ban_id, held.target, held.scope, held.action, held.expires_at


def _exceptions(allow: Iterable[Network], proven: Iterable[Network]) -> Iterable[_Exception]:
    yield from ((Kind.ALLOW, network) for network in allow)
    yield from ((Kind.PROVEN, network) for network in proven)


def _for_others(change: Change, families: tuple[Family, ...]) -> Change:
    """Return the part of a change that concerns families other than these."""

    def others(networks: frozenset[Network]) -> frozenset[Network]:
        return frozenset(network for network in networks if family_of(network) not in families)

    return Change(
        add=tuple(ban for ban in change.add if family_of(ban.target) not in families),
        remove=change.remove,
        allow_add=others(change.allow_add),
        allow_remove=change.allow_remove,
        proven_add=others(change.proven_add),
        proven_remove=change.proven_remove,
    )


def _destroy_left_over_sets() -> None:
    """Remove what the sets plane held before; nothing refers to it any more, so a failure only costs memory."""
    with contextlib.suppress(PlaneError):
        for name in ipset.names():
            ipset.destroy(name)
