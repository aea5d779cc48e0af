"""What of our table's frame is there, from ``nft -j -t list table``; and the lines that mend it.

The listing is terse: without members it costs the same whatever the number of bans.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from synguard.enforcer import nft
from synguard.enforcer.names import is_ours
from synguard.enforcer.nft_layout import (
    BASES,
    CHAINS,
    FIXED,
    MAX_ELEMENTS,
    TABLE,
    FixedRule,
    SetId,
    chain_line,
    set_id,
    set_line,
)
from synguard.errors import PlaneError

_LIST: Final = ("-j", "-a", "-t", "list", "table", *TABLE.split())


@dataclass(frozen=True, slots=True)
class FoundRule:
    """One rule of ours as it was found."""

    handle: int
    comment: str


@dataclass(slots=True)
class Frame:
    """What is there of table, chains, rules and sets."""

    present: bool = False
    """Whether the table is there."""
    unfit: list[str] = field(default_factory=list)
    """What has other parameters than ours: the table is then made anew, in one transaction with all members."""
    chains: set[str] = field(default_factory=set)
    rules: dict[str, list[FoundRule]] = field(default_factory=lambda: defaultdict(list))
    """Chain → rules of ours in it, in order."""
    sets: set[SetId] = field(default_factory=set)
    strangers: list[str] = field(default_factory=list)

    @property
    def missing(self) -> tuple[str, ...]:
        """What is missing or out of place, one phrase each."""
        if not self.present:
            return (f"table {TABLE}",)
        if self.unfit:
            return tuple(f"table {TABLE}: {what} is not as it should be" for what in self.unfit)
        gone = [f"chain {chain} of table {TABLE}" for chain in CHAINS if chain not in self.chains]
        return (*gone, *(f"the rules of chain {chain} or their order" for chain in CHAINS if self._is_wrong(chain)))

    def _is_wrong(self, chain: str) -> bool:
        if chain not in self.chains:
            return False
        found = [rule.comment for rule in self.rules[chain]]
        wanted = [rule.comment for rule in self.wanted_rules(chain)]
        return found != wanted if chain in FIXED else sorted(found) != sorted(wanted)

    def wanted_rules(self, chain: str, coming: Iterable[SetId] = ()) -> tuple[FixedRule, ...]:
        """Return the rules that belong into a chain, once the ``coming`` sets are there too."""
        if chain in FIXED:
            return FIXED[chain]
        return tuple(one.rule for one in sorted({*self.sets, *coming}) if one.chain == chain)

    def lines(self, coming: set[SetId]) -> Iterator[str]:
        """Yield what makes the frame whole, and the ``coming`` sets with their rules."""
        if self.unfit:
            yield f"delete table {TABLE}"
            yield from Frame().lines(coming)
            return
        if not self.present:
            yield f"add table {TABLE}"
        yield from (chain_line(chain) for chain in CHAINS if chain not in self.chains)
        yield from (set_line(one) for one in sorted(coming - self.sets))
        for chain in CHAINS:
            yield from self._rule_lines(chain, coming) if chain not in FIXED else self._fixed_lines(chain)

    def _fixed_lines(self, chain: str) -> Iterator[str]:
        """Yield what puts the fixed rules at the head of a chain; foreign ones follow."""
        found = [rule.comment for rule in self.rules[chain]]
        if found == [rule.comment for rule in FIXED[chain]]:
            return
        yield from (_delete(chain, rule) for rule in self.rules[chain])
        yield from (f"insert rule {TABLE} {chain} {rule}" for rule in reversed(FIXED[chain]))

    def _rule_lines(self, chain: str, coming: set[SetId]) -> Iterator[str]:
        """Yield what gives a chain one rule per set."""
        wanted = {rule.comment: rule for rule in self.wanted_rules(chain, coming)}
        for found in self.rules[chain]:
            if wanted.pop(found.comment, None) is None:
                yield _delete(chain, found)
        yield from (f"add rule {TABLE} {chain} {rule}" for rule in wanted.values())

    def removal(self, sets: Iterable[SetId]) -> Iterator[str]:
        """Yield what removes sets together with their rules."""
        for one in sets:
            comment = one.rule.comment
            yield from (_delete(one.chain, rule) for rule in self.rules[one.chain] if rule.comment == comment)
            yield f"delete set {TABLE} {one.name}"


def look() -> Frame:
    """Return what is there of the frame.

    Raises:
        PlaneError: The kernel could not be asked.
    """
    try:
        return parse_frame(nft.run(_LIST))
    except nft.NftFailedError as error:
        if error.absent:
            return Frame()
        raise PlaneError(f"listing table {TABLE}", error.detail) from error


def parse_frame(listing: str) -> Frame:
    """Return what a terse JSON listing says.

    Sample: ``{"nftables": [{"metainfo": …}, {"table": …}, {"set": …}, {"chain": …}, {"rule": …}]}``
    """
    try:
        entries = json.loads(listing)["nftables"]
    except (ValueError, KeyError) as error:
        raise PlaneError(f"reading table {TABLE}", f"nft printed something that is not its JSON: {error}") from error
    frame = Frame(present=True)
    for entry in entries:
        for word, thing in entry.items():
            if word in _TAKE:
                _TAKE[word](frame, thing)
            elif word != "metainfo":
                frame.strangers.append(f"{word} {thing.get('name', '')} of table {TABLE}")
    return frame


def _take_table(frame: Frame, table: Mapping[str, Any]) -> None:
    if table.get("flags"):  # dormant: all is there and nothing works
        frame.unfit.append("its state (flags)")


def _take_set(frame: Frame, found: Mapping[str, Any]) -> None:
    one = set_id(found["name"])
    if one is None:
        frame.strangers.append(f"set {found['name']} of table {TABLE}")
    elif not _fits(found, one):
        frame.unfit.append(f"set {one.name}")
    else:
        frame.sets.add(one)


def _fits(found: Mapping[str, Any], one: SetId) -> bool:
    """Return whether a set can hold our members; releases of nft differ in whether a single word is a list."""
    return (
        tuple(_listed(found["type"])) == one.types
        and _listed(found.get("flags", ())) == ["timeout"]
        and found.get("size") == MAX_ELEMENTS
        and "timeout" not in found
        and [next(iter(stateful)) for stateful in _listed(found.get("stmt", ()))] == ["counter"]
    )


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, str | dict) else list(value)


def _take_chain(frame: Frame, found: Mapping[str, Any]) -> None:
    name = found["name"]
    if name not in CHAINS:
        frame.strangers.append(f"chain {name} of table {TABLE}")
        return
    frame.chains.add(name)
    base = (found.get("hook"), found.get("prio")) if "hook" in found else None
    if base != BASES.get(name) or found.get("policy", "accept") != "accept":
        frame.unfit.append(f"chain {name}")


def _take_rule(frame: Frame, found: Mapping[str, Any]) -> None:
    chain, comment = found["chain"], found.get("comment", "")
    if chain not in CHAINS:
        return  # its chain is told of
    if is_ours(comment):
        frame.rules[chain].append(FoundRule(found["handle"], comment))
    else:
        words = f', "{comment}"' if comment else ""
        frame.strangers.append(f"rule with handle {found['handle']} of chain {chain} of table {TABLE}{words}")


_TAKE: Final = {"table": _take_table, "set": _take_set, "chain": _take_chain, "rule": _take_rule}


def _delete(chain: str, rule: FoundRule) -> str:
    return f"delete rule {TABLE} {chain} handle {rule.handle}"
