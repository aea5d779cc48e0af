"""Rules of our chains as values: each asks one set, and none names a ban.

The order in a chain is that of `Kind`: exceptions for everybody who is protected, drops of everything, drops of SYNs
to some ports on evidence of handshakes, exceptions for proven peers, all other drops of SYNs. So a proven peer survives
a prefix ban of scope ``new``, and a connection flooder cannot hide behind having connected.
"""

from __future__ import annotations

from dataclasses import dataclass

from synguard.enforcer.names import CHAIN, REJECT_CHAIN, Family, Kind, frame_comment, set_name
from synguard.model import Action, Scope


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
    match_set: tuple[str, str] | None = None
    """Set name and directions, ``src`` or ``src,dst``. Asked last, so that it counts only what the rule stops."""
    reject_with: str | None = None


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


def verdict_of(action: Action) -> str:
    """Return the target of a rule that stops."""
    return "DROP" if action is Action.DROP else REJECT_CHAIN


def jump_rule(hook: str) -> Rule:
    """Return the jump from a built-in chain into ours."""
    return Rule(frame_comment(f"from-{hook.lower()}"), CHAIN)


def reject_rules(family: Family) -> tuple[Rule, ...]:
    """Return the chain that answers: a reset for TCP, port unreachable for the rest.

    A chain of its own keeps what rejects one rule a set, and its count one count.
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
