"""Our chains and the jumps into them: looked over, mended and taken away, in one table at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import tenacity

from synguard.enforcer.iptables.rules import Rule, XtablesTable, jump_rule, reject_rules, set_rules
from synguard.enforcer.iptables.xtables import XTable, XtablesEntry
from synguard.enforcer.locks import xtables_lock
from synguard.enforcer.names import CHAIN, REJECT_CHAIN, is_ours
from synguard.enforcer.plane import Bypass
from synguard.errors import ChangedUnderneathError

ATTEMPTS: Final = 8
"""Each reads the table anew. Holders of the xtables lock never cause one; tools that ignore it may cause a few."""


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(ChangedUnderneathError),
    stop=tenacity.stop_after_attempt(ATTEMPTS),
    wait=tenacity.wait_random_exponential(multiplier=0.005, max=0.2),
    reraise=True,
)
def edit(table: XtablesTable, change: Callable[[XTable], bool]) -> bool:
    """Read one table, let ``change`` edit the copy, and commit it if ``change`` says that it did.

    Raises:
        ChangedUnderneathError: Others changed the table during every attempt.
    """
    with xtables_lock():
        copy = XTable(table)
        changed = change(copy)
        if changed:
            copy.commit()
    return changed


def frame_missing(table: XTable) -> Iterator[str]:
    """Yield what is missing of our jumps, chains and rules, one phrase each."""
    for hook in table.table.hooks:
        if jump_rule(hook).comment not in _comments(table, hook):
            yield f"{table.table}: the jump from {hook} to {CHAIN}"
    if not table.has_chain(CHAIN):
        yield f"{table.table}: the chain {CHAIN}"
    if _has_reject(table.table) and _comments(table, REJECT_CHAIN) != _wanted_reject(table.table):
        yield f"{table.table}: the chain {REJECT_CHAIN}"
    if _comments(table, CHAIN) != [rule.comment for rule in set_rules(table.table)] and table.has_chain(CHAIN):
        yield f"{table.table}: the rules of {CHAIN} or their order"


def mend(table: XTable) -> bool:
    """Put back what is missing of the frame; return whether anything was.

    A jump that is there stays where it is; one that is put back comes first.
    """
    if not any(frame_missing(table)):
        return False
    if _has_reject(table.table):
        _ensure_chain(table, REJECT_CHAIN, reject_rules(table.table.family))
    _ensure_chain(table, CHAIN, set_rules(table.table))
    for hook in table.table.hooks:
        jump = jump_rule(hook)
        if jump.comment not in _comments(table, hook):
            _remove_ours(table, hook)
            table.insert(hook, 0, jump)
    return True


def _ensure_chain(table: XTable, chain: str, rules: Sequence[Rule]) -> None:
    """Have the chain begin with these rules in place of all of ours; foreign ones follow."""
    if not table.has_chain(chain):
        table.create_chain(chain)
    if _comments(table, chain) != [rule.comment for rule in rules]:
        _remove_ours(table, chain)
        for position, rule in enumerate(rules):
            table.insert(chain, position, rule)


def _remove_ours(table: XTable, chain: str) -> bool:
    """Remove all our rules from a chain, those of other releases too; return whether there were any."""
    entries = table.entries(chain)
    ours = [position for position, entry in enumerate(entries) if is_ours(entry.comment)]
    for position in reversed(ours):
        table.delete(chain, position)
    return bool(ours)


def foreign_rules(table: XTable) -> Iterator[str]:
    """Yield a phrase for each foreign rule in our chains, and for each before our jumps that lets packets past us."""
    for chain in (CHAIN, REJECT_CHAIN):
        for position, entry in enumerate(table.entries(chain)):
            if not is_ours(entry.comment):
                yield f"{table.table}: rule {position + 1} of {chain} ({_name(entry)})"
    for hook in table.table.hooks:
        for position, entry in enumerate(table.entries(hook)):
            if entry.comment == jump_rule(hook).comment:
                break
            if entry.target == "ACCEPT":
                text = f"{table.table}: rule {position + 1} of {hook} accepts packets before {CHAIN} sees them"
                yield Bypass.of(text, table.table.family)


def dismantle(table: XTable, left: list[str]) -> bool:
    """Remove our jumps, rules and chains; return whether there was anything.

    A chain that holds foreign rules, or that foreign rules jump to, stays and is named in ``left``.
    """
    changed = False
    for hook in table.table.hooks:
        changed |= _remove_ours(table, hook)
    for chain in (CHAIN, REJECT_CHAIN):
        if not table.has_chain(chain):
            continue
        changed |= _remove_ours(table, chain)
        foreign = table.entries(chain)
        if foreign:
            left.append(f"{table.table}: {chain} holds {len(foreign)} rules that are not synguard's")
        elif _is_target(table, chain):
            left.append(f"{table.table}: rules that are not synguard's jump to {chain}")
        else:
            table.delete_chain(chain)
            changed = True
    return changed


def _is_target(table: XTable, chain: str) -> bool:
    return any(entry.target == chain for name in table.chains() for entry in table.entries(name))


def _comments(table: XTable, chain: str) -> list[str]:
    return [entry.comment for entry in table.entries(chain) if is_ours(entry.comment)]


def _has_reject(table: XtablesTable) -> bool:
    return table.name == "filter"


def _wanted_reject(table: XtablesTable) -> list[str]:
    return [rule.comment for rule in reject_rules(table.family)]


def _name(entry: XtablesEntry) -> str:
    return f"-j {entry.target}" + (f', "{entry.comment}"' if entry.comment else "")
