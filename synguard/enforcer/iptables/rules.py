"""Rules of our chains as values: the fixed ones of the frame, and one per ban where there are no sets.

The order in a chain is that of `Stage`: exceptions for everybody who is protected, drops of everything, exceptions
for proven peers, drops of SYNs. So a proven peer survives a prefix ban of scope ``new``, and a connection flooder
cannot hide behind having connected.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final

from synguard.addresses import Network
from synguard.enforcer.names import (
    CHAIN,
    REJECT_CHAIN,
    Family,
    Kind,
    exception_comment,
    frame_comment,
    parse_exception,
    parse_rule,
    rule_comment,
    set_name,
)
from synguard.model import Action, Ban, KernelBan, Scope

PORTS_PER_RULE: Final = 15
"""``XT_MULTI_PORTS``: the most that one ``-m multiport`` takes."""
_LAST_DATESTOP: Final = datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC)
"""``-m time`` knows nothing later; a ban beyond it is renewed by the agent, if there still is one."""


class Stage(IntEnum):
    """Where in a chain a rule stands."""

    ALLOW = 0
    ALL = 1
    PROVEN = 2
    NEW = 3


@dataclass(frozen=True, slots=True)
class XtablesTable:
    """One table of one family that we hook into: where, and for which action."""

    family: Family
    name: str
    hooks: tuple[str, ...]
    action: Action

    def __str__(self) -> str:
        return f"{'ip6tables' if self.family == 6 else 'iptables'} {self.name}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; what is not given is not matched."""

    comment: str
    target: str
    tcp: bool = False
    syn: bool = False
    """TCP SYNs that open a connection: SYN set; ACK, RST and FIN not."""
    source: Network | None = None
    ports: tuple[int, ...] = ()
    match_set: tuple[str, str] | None = None
    """Set name and directions, ``src`` or ``src,dst``. Asked last, so that it counts only what the rule stops."""
    datestop: str | None = None
    """``2026-03-01T12:00:00``, UTC: the last second in which the rule matches."""
    reject_with: str | None = None
    packets: int = 0
    bytes: int = 0


def tables(families: tuple[Family, ...]) -> tuple[XtablesTable, ...]:
    """Return where our rules stand: DROP before conntrack, which covers forwarded traffic too; REJECT where it can."""
    return tuple(
        table
        for family in families
        for table in (
            XtablesTable(family, "raw", ("PREROUTING",), Action.DROP),
            XtablesTable(family, "filter", ("INPUT", "FORWARD"), Action.REJECT),
        )
    )


ALL_TABLES: Final = tables((4, 6))


def verdict_of(action: Action) -> str:
    """Return the target of a rule that stops."""
    return "DROP" if action is Action.DROP else REJECT_CHAIN


def jump_rule(hook: str) -> Rule:
    """Return the jump from a built-in chain into ours."""
    return Rule(frame_comment(f"from-{hook.lower()}"), CHAIN)


def reject_rules(family: Family) -> tuple[Rule, ...]:
    """Return the chain that answers: a reset for TCP, port unreachable for the rest.

    A chain of its own keeps a ban one rule, and its count one count.
    """
    unreachable = "icmp-port-unreachable" if family == 4 else "icmp6-port-unreachable"
    return (
        Rule(frame_comment("tcp-reset"), "REJECT", tcp=True, reject_with="tcp-reset"),
        Rule(frame_comment("unreachable"), "REJECT", reject_with=unreachable),
    )


def set_rules(table: XtablesTable) -> tuple[Rule, ...]:
    """Return the fixed rules that ask the sets, in order."""
    kinds = [kind for kind in Kind if kind.action in (None, table.action)]
    return tuple(_set_rule(kind, table) for kind in kinds)


def _set_rule(kind: Kind, table: XtablesTable) -> Rule:
    syn = kind.scope is Scope.NEW
    directions = "src,dst" if kind.by_port else "src"
    target = "RETURN" if kind.action is None else verdict_of(kind.action)
    match_set = (set_name(kind, table.family), directions)
    return Rule(frame_comment(str(kind)), target, tcp=syn, syn=syn, match_set=match_set)


def exception_rule(kind: Kind, network: Network) -> Rule:
    """Return the rule that lets one network through."""
    return Rule(exception_comment(kind, network), "RETURN", source=network)


def ban_rules(ban: Ban | KernelBan) -> Iterator[Rule]:
    """Yield the rules of one ban: one, or one per fifteen ports. A kept count stands in the first."""
    packets, octets = (ban.hits.packets, ban.hits.bytes) if isinstance(ban, KernelBan) else (0, 0)
    ban_id = ban.ban_id if isinstance(ban, KernelBan) else ban.id
    syn = ban.scope is Scope.NEW
    for start in range(0, max(len(ban.ports), 1), PORTS_PER_RULE):
        ports = ban.ports[start : start + PORTS_PER_RULE]
        yield Rule(
            rule_comment(ban, ban_id, ports),
            verdict_of(ban.action),
            tcp=syn,
            syn=syn,
            source=ban.target,
            ports=ports,
            datestop=datestop(ban.expires_at),
            packets=packets,
            bytes=octets,
        )
        packets = octets = 0


def datestop(expires_at: datetime | None) -> str | None:
    """Return the last whole second before the expiry, as ``-m time`` takes it, in UTC; None for never.

    The kernel compares whole seconds and still matches in the last one, so a ban ends at most a second late.
    """
    if expires_at is None:
        return None
    last = datetime.fromtimestamp(math.ceil(expires_at.timestamp()) - 1, UTC)
    return min(last, _LAST_DATESTOP).strftime("%Y-%m-%dT%H:%M:%S")


def stage_of(comment: str) -> Stage | None:
    """Return where a rule of ours without sets belongs, by its comment; None if it is no such rule."""
    exception = parse_exception(comment)
    if exception is not None:
        return Stage.ALLOW if exception[0] is Kind.ALLOW else Stage.PROVEN
    held = parse_rule(comment)
    if held is None:
        return None
    return Stage.ALL if held.scope is Scope.ALL else Stage.NEW
