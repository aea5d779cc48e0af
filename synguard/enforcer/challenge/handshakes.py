"""Whether the firewall lets a challenged client in: three packets walk its rules side by side; no I/O.

A client that is not challenged sends a SYN (``new``) and an ACK (``established``). Of a challenged client, connection
tracking sees the ACK only: ``new`` with loose tracking, else ``invalid``. A ruleset is an obstacle where the first two
pass and the third does not. What a rule asks that is not known (the source, a limit) is tried both ways, with the same
answer for all three.

Source: net/netfilter/nf_conntrack_proto_tcp.c (``tcp_new``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from synguard.enforcer.challenge.packet_filter import (
    ACK,
    SYN,
    BaseChain,
    FilterRule,
    Networks,
    Packet,
    RuleVerdict,
    Table,
)

HOOKS: Final = ("ingress", "prerouting", "input")
_CONNTRACK: Final = -200
"""Priority of connection tracking: what is called before it knows no state."""
_DEEPEST: Final = 64
"""Jumps below one another that are followed; nf_tables allows 16."""

_IN, _RETURNED, _ACCEPTED, _DROPPED, _AWAY = "in", "returned", "accepted", "dropped", "away"
_Place = tuple[str, str, str]
"""Where each of the three packets is: in this chain, returned from it, accepted by this base chain, …"""
_State = tuple[_Place, frozenset[int]]
"""And which of them are not tracked."""
_Found = dict[_State, FilterRule | BaseChain | None]
"""States that are possible → what drops the challenged client's ACK there."""


@dataclass(frozen=True, slots=True)
class Passage:
    """What becomes of a challenged client on one port."""

    refused_by: FilterRule | BaseChain | None = None
    """The rule, or the chain by its policy, that drops its ACK, though it drops neither packet of other clients."""
    redirected_by: FilterRule | None = None
    """A rule that hands SYNs of the port to another socket."""
    proxied_by: FilterRule | None = None
    """A rule that has SYNPROXY answer them."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where clients' packets come in."""

    family: int
    interface: str = ""
    addresses: Networks = ()


def passage(tables: Sequence[Table], port: int, entrance: Entrance, *, loose: bool) -> Passage:
    """Return what becomes of a challenged client that comes to ``port``.

    ``loose`` is ``nf_conntrack_tcp_loose``. Without it also the answers of this host are ``invalid``.
    """
    state = "new" if loose else "invalid"
    trio = tuple(
        Packet(entrance.family, flags, found, port, entrance.interface, entrance.addresses)
        for flags, found in ((SYN, "new"), (ACK, "established"), (ACK, state))
    )
    walk = _Walk(trio)
    found = walk.hooks(tables, HOOKS)
    refused = _refusal(found)
    if found and refused is None and not loose:
        ways = zip(trio, (SYN | ACK, ACK, ACK), ("established", "established", state), strict=True)
        out = tuple(replace(one, flags=flags, state=now, outgoing=True) for one, flags, now in ways)
        refused = _refusal(_Walk(out).hooks(tables, ("output",)))
    return Passage(refused, walk.redirected_by, walk.proxied_by)


def _refusal(found: _Found) -> FilterRule | BaseChain | None:
    return next((why for (place, _), why in found.items() if place[2] == _DROPPED), None)


class _Walk:
    def __init__(self, trio: tuple[Packet, ...]) -> None:
        self.redirected_by: FilterRule | None = None
        self.proxied_by: FilterRule | None = None
        self._trio = trio
        self._early = tuple(replace(one, state="invalid") for one in trio)
        self._untracked = tuple(replace(one, state="untracked") for one in trio)
        self._table = Table(())
        self._tracked = False
        self._known: dict[tuple[str, _State], _Found] = {}

    def hooks(self, tables: Iterable[Table], hooks: Sequence[str]) -> _Found:
        """Return what may have become of the three behind all base chains of some hooks, in the kernel's order."""
        found: _Found = {((_IN, _IN, _IN), frozenset()): None}
        bases = [(one, table) for table in tables for one in table.bases if one.hook in hooks]
        for base, table in sorted(bases, key=lambda pair: (hooks.index(pair[0].hook), pair[0].priority)):
            if self._trio[0].family not in base.families:
                continue
            self._table = table
            self._tracked = base.hook == "input" or (base.hook != "ingress" and base.priority > _CONNTRACK)
            self._known = {}
            following: _Found = {}
            for state, why in found.items():
                for after, reason in self._base(base, state).items():
                    following.setdefault(after, why or reason)
            found = following
        return found

    def _base(self, base: BaseChain, state: _State) -> _Found:
        place, untracked = state
        if base.nat:  # asked for the first packet of a connection alone
            first = (self._trio[0].state == "new", False, self._trio[2].state == "new")
            place = _placed(place, lambda number, where: where if first[number] or where != _IN else _ACCEPTED)
        ended: _Found = {}
        for (after, marks), why in self._chain(base.name, (place, untracked), 0).items():
            reason: FilterRule | BaseChain | None = why
            if base.drops:
                left = [where in (_IN, _RETURNED) for where in after]
                after = _placed(after, lambda _, where: _DROPPED if where in (_IN, _RETURNED) else where)
                if left[2] and reason is None:
                    reason = base
            if after[0] == _DROPPED or after[1] == _DROPPED:
                continue
            passed = _placed(after, lambda _, where: _IN if where in (_IN, _RETURNED, _ACCEPTED) else where)
            ended.setdefault((passed, marks), reason if passed[2] == _DROPPED else None)
        return ended

    def _chain(self, name: str, state: _State, depth: int) -> _Found:
        known = self._known.get((name, state))
        if known is not None:
            return known
        found: _Found = {state: None}
        for rule in self._table.rules.get(name, ()) if depth < _DEEPEST else ():
            following: _Found = {}
            for one, why in found.items():
                for after, reason in self._rule(rule, one, depth):
                    if after[0][0] != _DROPPED and after[0][1] != _DROPPED:  # others fare no better than it
                        following.setdefault(after, why or reason)
            found = following
        self._known[name, state] = found
        return found

    def _rule(
        self, rule: FilterRule, state: _State, depth: int
    ) -> Iterator[tuple[_State, FilterRule | BaseChain | None]]:
        place, untracked = state
        matched, depends = [], False
        for number, where in enumerate(place):
            if where != _IN:
                continue
            answer = self._answer(rule, number, untracked)
            if answer is not False:
                matched.append(number)
                depends |= answer is None
        if depends or not matched:
            yield state, None
        if matched:
            yield from self._follow(rule, state, frozenset(matched), depth)

    def _answer(self, rule: FilterRule, number: int, untracked: frozenset[int]) -> bool | None:
        if number in untracked:
            packet = self._untracked[number]
        else:
            packet = self._trio[number] if self._tracked else self._early[number]
        depends = False
        for test in rule.tests:
            answer = test.judge(packet)
            if answer is False:
                return False
            depends |= answer is None
        return None if depends else True

    def _follow(
        self, rule: FilterRule, state: _State, matched: frozenset[int], depth: int
    ) -> Iterator[tuple[_State, FilterRule | BaseChain | None]]:
        place, untracked = state
        if rule.verdict in (RuleVerdict.JUMP, RuleVerdict.GOTO):
            yield from self._jump(rule, state, matched, depth)
            return
        if rule.verdict is RuleVerdict.NOTRACK:
            yield (place, untracked | matched), None
            return
        if rule.verdict in (RuleVerdict.REDIRECT, RuleVerdict.PROXY):
            self._note(rule, matched)
        where = _AFTER[rule.verdict]
        after = _placed(place, lambda number, before: where if number in matched else before)
        yield (after, untracked), rule if where == _DROPPED and 2 in matched else None

    def _jump(
        self, rule: FilterRule, state: _State, matched: frozenset[int], depth: int
    ) -> Iterator[tuple[_State, FilterRule | BaseChain | None]]:
        place, untracked = state
        inside = _placed(place, lambda number, where: where if where != _IN or number in matched else "beside")
        home = _IN if rule.verdict is RuleVerdict.JUMP else _RETURNED
        for (after, marks), why in self._chain(rule.target, (inside, untracked), depth + 1).items():
            back = _placed(after, lambda number, where: _back(where, home, came_in=place[number] == _IN))
            yield (back, marks), why

    def _note(self, rule: FilterRule, matched: frozenset[int]) -> None:
        if rule.verdict is RuleVerdict.REDIRECT and 0 in matched:
            self.redirected_by = self.redirected_by or rule
        elif rule.verdict is RuleVerdict.PROXY:
            self.proxied_by = self.proxied_by or rule


_AFTER: Final = {
    RuleVerdict.ACCEPT: _ACCEPTED,
    RuleVerdict.DROP: _DROPPED,
    RuleVerdict.RETURN: _RETURNED,
    RuleVerdict.REDIRECT: _AWAY,
    RuleVerdict.PROXY: _AWAY,
}


def _back(where: str, home: str, *, came_in: bool) -> str:
    """Return where a packet is after a jump: what stood beside goes on, what came back is where the jump says."""
    if where == "beside":
        return _IN
    return home if came_in and where in (_IN, _RETURNED) else where


def _placed(place: _Place, moved: Callable[[int, str], str]) -> _Place:
    first, second, third = (moved(number, where) for number, where in enumerate(place))
    return first, second, third
