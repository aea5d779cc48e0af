"""What makes challenged clients fail on this host, each with a sentence and a fix; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from synguard.capabilities import permission_or
from synguard.enforcer.challenge.handshakes import Entrance, Passage, passage
from synguard.enforcer.challenge.packet_filter import BaseChain, FilterRule, Ports, Table, port_tests
from synguard.enforcer.challenge.ruleset import Ruleset

MOST_PORTS: Final = 256
"""Ports that rules name and that are judged one by one; further ones are judged as all others."""

NO_LOOSE_TRACKING: Final = "loose-tracking-off"
NEW_MUST_BE_SYN: Final = "new-must-be-syn"
REDIRECTED: Final = "redirected-port"
SYNPROXY: Final = "synproxy"
UNREAD: Final = "rules-unread"

_LOOSE: Final = "net.netfilter.nf_conntrack_tcp_loose"
_LOOSE_FIX: Final = f"sysctl -w {_LOOSE}=1 && echo '{_LOOSE} = 1' >> /etc/sysctl.d/60-synguard.conf"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One reason not to challenge."""

    code: str
    text: str
    fix: str
    """A command, or what to change where."""
    ports: tuple[int, ...] | None = None
    """Where clients of these ports alone would fail; None for all."""


def rule_obstacles(ruleset: Ruleset, ports: Iterable[int], entrances: Sequence[Entrance]) -> list[Obstacle]:
    """Return what the rules do to challenged clients of these ports, and of others that rules name.

    ``entrances`` are the ways that clients' packets come in by.
    """
    if ruleset.unread:
        fix = f"{permission_or('install the packages iptables and nftables')}; then synguard doctor"
        return [Obstacle(UNREAD, f"the rules of this host's firewall are not known: {ruleset.unread}", fix)]
    candidates = _candidates(ruleset.tables, ports)
    found: dict[tuple[str, str], tuple[Obstacle, set[int]]] = {}
    for port, outcomes in _passages(ruleset, candidates, entrances):
        for one in outcomes:
            for obstacle in _obstacles(one, loose=ruleset.loose):
                found.setdefault((obstacle.code, obstacle.text), (obstacle, set()))[1].add(port)
    return [
        Obstacle(one.code, one.text, one.fix, None if len(where) == len(candidates) else tuple(sorted(where - {0})))
        for one, where in found.values()
    ]


def _candidates(tables: Iterable[Table], ports: Iterable[int]) -> set[int]:
    """Return the ports to judge: those asked for, those that rules name, and 0 for all others."""
    named = (low for test in _port_tests(tables) for low, high in test.ranges if low == high)
    return {*ports, *islice(dict.fromkeys(named), MOST_PORTS), 0}


def _port_tests(tables: Iterable[Table]) -> Iterator[Ports]:
    for table in tables:
        for rules in table.rules.values():
            for rule in rules:
                yield from port_tests(rule.tests)


def _passages(
    ruleset: Ruleset, ports: Iterable[int], entrances: Sequence[Entrance]
) -> Iterator[tuple[int, tuple[Passage, ...]]]:
    """Yield what becomes of challenged clients of each port; ports that no rule tells apart are judged together."""
    ranges = list(dict.fromkeys(ends for test in _port_tests(ruleset.tables) for ends in test.ranges))
    known: dict[tuple[bool, ...], tuple[Passage, ...]] = {}
    for port in ports:
        alike = tuple(low <= port <= high for low, high in ranges)
        if alike not in known:
            known[alike] = tuple(passage(ruleset.tables, port, entrance, loose=ruleset.loose) for entrance in entrances)
        yield port, known[alike]


def _obstacles(found: Passage, *, loose: bool) -> Iterator[Obstacle]:
    if found.redirected_by:
        text = f"another socket answers it than the one that clients write to: {found.redirected_by.text}"
        fix = "nothing to do: bans work there as without challenges; or let the program listen on that port itself"
        yield Obstacle(REDIRECTED, text, fix)
    elif found.proxied_by:
        text = f"SYNPROXY answers its SYNs already: {found.proxied_by.text}"
        yield Obstacle(SYNPROXY, text, f"nothing to do; or, to let synguard do it: {found.proxied_by.removal}")
    elif found.refused_by and not loose:
        text = f"{_LOOSE} is 0, and the ACK of a challenged client is refused as INVALID: {_who(found.refused_by)}"
        yield Obstacle(NO_LOOSE_TRACKING, text, _LOOSE_FIX)
    elif found.refused_by:
        text = f"the ACK of a challenged client is refused, as no SYN came before it: {_who(found.refused_by)}"
        yield Obstacle(NEW_MUST_BE_SYN, text, _mended(found.refused_by))


def _who(one: FilterRule | BaseChain) -> str:
    return one.text if isinstance(one, FilterRule) else f"the policy of the chain that `{one.text}` shows"


def _mended(one: FilterRule | BaseChain) -> str:
    if isinstance(one, FilterRule):
        return one.removal
    return f"accept packets of new connections, not only SYNs, in the rules that `{one.text}` shows"
