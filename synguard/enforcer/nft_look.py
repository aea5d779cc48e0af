"""What of our table's frame is there, from ``nft -a -t list ruleset``; and the lines that mend it.

The whole ruleset is listed because that alone is terse: asked for one table, nft 1.0.6 fetches all members of its sets
and then does not print them, which takes seconds at 100,000 bans. It is read as text because that release prints broken
JSON as soon as anybody's table has flags.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from synguard.enforcer import nft
from synguard.enforcer.names import is_ours
from synguard.enforcer.nft_layout import (
    BASES,
    CHAINS,
    FIXED,
    TABLE,
    FixedRule,
    SetId,
    base_line,
    chain_line,
    is_as_created,
    set_id,
    set_line,
)
from synguard.errors import PlaneError

_LIST: Final = ("-a", "-t", "list", "ruleset", "inet")
_BLOCK: Final = re.compile(r"\t(\w+) (\S+) \{(?: # handle \d+)?")
_RULE: Final = re.compile(r"(?: comment \"([^\"]*)\")? # handle (\d+)$")


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
    most: int | None = None
    """Members that a set is meant for; None for the usual."""

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
            yield from Frame(most=self.most).lines(coming)
            return
        if not self.present:
            yield f"add table {TABLE}"
        yield from (chain_line(chain) for chain in CHAINS if chain not in self.chains)
        yield from (set_line(one, self.most) for one in sorted(coming - self.sets))
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


def look(most: int | None = None) -> Frame:
    """Return what is there of the frame, whose sets are meant for ``most`` members.

    Raises:
        PlaneError: The kernel could not be asked.
    """
    try:
        return parse_frame(nft.run(_LIST), most)
    except nft.NftFailedError as error:
        raise PlaneError(f"listing table {TABLE}", error.detail) from error


def parse_frame(listing: str, most: int | None = None) -> Frame:
    """Return what a terse listing with handles says of our table. Sample, indented by tabs::

    table inet synguard { # handle 3
        set new-drop-4-24 { # handle 1
            type ipv4_addr
            …
        }
        chain prerouting { # handle 11
            type filter hook prerouting priority -310; policy accept;
            meta nfproto ipv4 jump drop-4 comment "synguard frame v1 prerouting-1" # handle 13
        }
    }
    """
    frame = Frame(most=most)
    inside = False
    block: tuple[str, str] | None = None
    lines: list[str] = []
    for line in listing.splitlines():
        if line and not line.startswith("\t"):
            inside = line.startswith(f"table {TABLE} {{")
            frame.present |= inside
        elif inside and line == "\t}" and block is not None:
            _take(frame, *block, lines)
            block = None
        elif inside and block is not None:
            lines.append(line.strip())
        elif inside and (match := _BLOCK.fullmatch(line)):
            block, lines = (match[1], match[2]), []
        elif inside and line.strip():  # flags: dormant is when all is there and nothing works
            frame.unfit.append(f'its own line "{line.strip()}"')
    return frame


def _take(frame: Frame, word: str, name: str, lines: list[str]) -> None:
    one = set_id(name) if word == "set" else None
    if one is not None:
        if is_as_created(one, lines, frame.most):
            frame.sets.add(one)
        else:
            frame.unfit.append(f"set {name}")
    elif word == "chain" and name in CHAINS:
        _take_chain(frame, name, lines)
    else:
        frame.strangers.append(f"{word} {name} of table {TABLE}")


def _take_chain(frame: Frame, name: str, lines: list[str]) -> None:
    frame.chains.add(name)
    found = [line for line in lines if line.startswith("type ")]
    if found != ([base_line(name)] if name in BASES else []):
        frame.unfit.append(f"chain {name}")
    for line in lines:
        rule = _RULE.search(line)
        comment = rule[1] or "" if rule else ""
        if rule and is_ours(comment):
            frame.rules[name].append(FoundRule(int(rule[2]), comment))
        elif rule:
            frame.strangers.append(f'rule "{line[: rule.start()][:60]}" of chain {name} of table {TABLE}')


def _delete(chain: str, rule: FoundRule) -> str:
    return f"delete rule {TABLE} {chain} handle {rule.handle}"
