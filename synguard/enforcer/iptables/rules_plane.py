"""The iptables plane without ipset: one rule per ban, which the kernel itself stops matching at the expiry.

A lapsed rule costs a comparison until the next full read sweeps it away.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from datetime import datetime
from typing import ClassVar, Final

from synguard.addresses import Network
from synguard.capabilities import require_capabilities
from synguard.enforcer import flush
from synguard.enforcer.iptables import ipset
from synguard.enforcer.iptables.chains import edit, foreign_rules, hooks_missing
from synguard.enforcer.iptables.rule_delta import FoundRules, RuleDelta, in_order
from synguard.enforcer.iptables.rules import ALL_TABLES, PORTS_PER_RULE, Rule, tables
from synguard.enforcer.iptables.tables import check_tables, look_over, show_chains
from synguard.enforcer.iptables.xtables import XTable, families_here
from synguard.enforcer.limits import ensure_possible
from synguard.enforcer.names import CHAIN, Family, Kind, family_of, is_ours
from synguard.enforcer.plane import Actual, Delta
from synguard.enforcer.reconcile.delta import after, without_expired
from synguard.errors import PlaneError
from synguard.model import Ban, KernelBan

MAX_RULES: Final = 10_000
"""Rules a table may hold: every packet is compared with all of them, and each change writes all of them."""

_TRIAL: Final = Rule("synguard trial", "DROP", tcp=True, syn=True, ports=(80, 443), datestop="2038-01-19T03:14:07")
"""Uses all that a ban's rule may use."""


class IptablesRulesPlane:
    """Legacy xtables alone; a table holds ``ceiling`` rules of bans at most."""

    name: ClassVar[str] = "iptables-rules"

    ceiling_key: ClassVar[str] = "ceilings.rules"

    def __init__(self, utcnow: Callable[[], datetime], ceiling: int = MAX_RULES) -> None:
        self._utcnow = utcnow
        self.ceiling = ceiling
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
        check_tables(self._tables, (_TRIAL,), ("tcp", "multiport", "time", "comment"))

    def read(self) -> Actual:
        """Read back the chains; rules that have lapsed are still there and are told of."""
        found, missing, foreign = self._find()
        missing += [f"{kind} {network} in one of two tables" for kind, network in found.halves()]
        self._idle = without_expired(self._idle, self._utcnow())
        return Actual(
            bans={**self._idle.bans, **found.bans()},
            allow=found.whole(Kind.ALLOW) | self._idle.allow,
            proven=found.whole(Kind.PROVEN) | self._idle.proven,
            intact=not missing,
            missing=tuple(missing),
            foreign=tuple(foreign),
        )

    def apply(self, change: Delta) -> None:
        """Make the change with one commit per table that it touches."""
        if not change:
            return
        ensure_possible(change)
        plan = RuleDelta.of(change, self._utcnow())
        if change.frame:
            plan.exceptions_out |= self._find()[0].halves() - plan.exceptions_in
        for table in self._tables:
            edit(table, lambda copy: plan.carry_out(copy, mend=change.frame))
        if change.frame:
            _destroy_left_over_sets()
            flush.remove_nftables_leftovers()
        self._idle = after(self._idle, _for_others(change, self._families))

    def place(self, ban: Ban | KernelBan) -> tuple[str, int]:
        """Return the table that a ban is in, and how many rules it has there."""
        table = next(one for one in ALL_TABLES if one.family == ban.target.version and one.action is ban.action)
        return f"{table} {CHAIN}", max(1, math.ceil(len(ban.ports) / PORTS_PER_RULE))

    def flush(self) -> None:
        """Remove everything of ours, of every plane and release."""
        self._idle = Actual()
        flush.flush_kernel()

    def _find(self) -> tuple[FoundRules, list[str], list[str]]:
        found = FoundRules()

        def look(table: XTable) -> tuple[list[str], list[str]]:
            entries = [entry for entry in table.entries(CHAIN) if is_ours(entry.comment)]
            for entry in entries:
                found.take(entry)
            missing = list(hooks_missing(table))
            if not in_order(entries):
                missing.append(f"{table.table}: the rules of {CHAIN} or their order")
            return missing, list(foreign_rules(table))

        missing, foreign = look_over(self._tables, look)
        return found, missing, foreign


def _for_others(change: Delta, families: tuple[Family, ...]) -> Delta:
    """Return the part of a change that concerns families other than these."""

    def others(networks: frozenset[Network]) -> frozenset[Network]:
        return frozenset(network for network in networks if family_of(network) not in families)

    return Delta(
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
