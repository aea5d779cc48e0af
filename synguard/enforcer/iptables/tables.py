"""The tables that we hook into, looked at together."""

from __future__ import annotations

import tenacity

from synguard.enforcer.iptables.chains import ATTEMPTS, foreign_rules, frame_missing
from synguard.enforcer.iptables.revisions import missing_extensions
from synguard.enforcer.iptables.rules import Rule, XtablesTable, reject_rules
from synguard.enforcer.iptables.xtables import XTable, existing_tables, loading
from synguard.enforcer.names import CHAIN
from synguard.errors import ChangedUnderneathError, PlaneUnavailableError
from synguard.model import Action
from synguard.programs import find_tool


def check_tables(tables: tuple[XtablesTable, ...], trials: tuple[Rule, ...], matches: tuple[str, ...]) -> None:
    """Return if the kernel has every table and match, and the library can build a rule of every form that we use.

    Opens the tables that exist anyway, and so creates the others, empty. The rules of ``trials`` go nowhere.

    Raises:
        PlaneUnavailableError: The library, a table or a match is missing, or a rule cannot be built.
    """
    for table in tables:
        opened = XTable(table)
        for rule in (*trials, *(reject_rules(table.family) if table.action is Action.REJECT else ())):
            opened.try_rule(rule)
    for family in sorted({table.family for table in tables}):
        missing = list(missing_extensions(family, matches, ("REJECT",)))
        if missing:
            modules = " ".join(f"xt_{name}" if name in matches else "ipt_REJECT ip6t_REJECT" for name in missing)
            raise PlaneUnavailableError(
                "asking the kernel for its matches", f"it has no {', '.join(missing)}: {loading(modules)}"
            )


def look_over(tables: tuple[XtablesTable, ...]) -> tuple[list[str], list[str]]:
    """Return what is missing and what is foreign in all tables; one that does not exist is not opened."""
    missing: list[str] = []
    foreign: list[str] = []
    existing = {family: existing_tables(family) for family in {table.family for table in tables}}
    for table in tables:
        if table.name not in existing[table.family]:
            missing.append(f"{table}: the jump to {CHAIN}")
            continue
        opened = open_table(table)
        missing += frame_missing(opened)
        foreign += foreign_rules(opened)
    return missing, foreign


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(ChangedUnderneathError),
    stop=tenacity.stop_after_attempt(ATTEMPTS),
    wait=tenacity.wait_random_exponential(multiplier=0.005, max=0.2),
    reraise=True,
)
def open_table(table: XtablesTable) -> XTable:
    """Return a fresh copy of a table, for reading: no lock is taken."""
    return XTable(table)


def show_chains() -> str:
    """Return the command that shows our chain; plain ``iptables`` may speak to nf_tables, where it is not."""
    tool = "iptables-legacy" if find_tool("iptables-legacy") else "iptables"
    return f"{tool} -t raw -vnL {CHAIN}"
