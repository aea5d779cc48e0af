"""The tables that we hook into, looked at together."""

from __future__ import annotations

from collections.abc import Callable

import tenacity

from synguard.enforcer.frame import ATTEMPTS
from synguard.enforcer.names import CHAIN
from synguard.enforcer.programs import find_tool
from synguard.enforcer.rules import Table
from synguard.enforcer.xtables import XTable, existing_tables
from synguard.errors import ChangedUnderneathError


def check_tables(tables: tuple[Table, ...]) -> None:
    """Return if the kernel has every table; opens those that exist anyway, and so creates the others, empty.

    Raises:
        PlaneUnavailableError: The library or a table is missing.
    """
    for table in tables:
        XTable(table)


def look_over(
    tables: tuple[Table, ...], look: Callable[[XTable], tuple[list[str], list[str]]]
) -> tuple[list[str], list[str]]:
    """Return what is missing and what is foreign in all tables; one that does not exist is not opened."""
    missing: list[str] = []
    foreign: list[str] = []
    existing = {family: existing_tables(family) for family in {table.family for table in tables}}
    for table in tables:
        if table.name not in existing[table.family]:
            missing.append(f"{table}: the jump to {CHAIN}")
            continue
        gone, strange = look(open_table(table))
        missing += gone
        foreign += strange
    return missing, foreign


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(ChangedUnderneathError),
    stop=tenacity.stop_after_attempt(ATTEMPTS),
    wait=tenacity.wait_random_exponential(multiplier=0.005, max=0.2),
    reraise=True,
)
def open_table(table: Table) -> XTable:
    """Return a fresh copy of a table, for reading: no lock is taken."""
    return XTable(table)


def show_chains() -> str:
    """Return the command that shows our chain; plain ``iptables`` may speak to nf_tables, where it is not."""
    tool = "iptables-legacy" if find_tool("iptables-legacy") else "iptables"
    return f"{tool} -t raw -vnL {CHAIN}"
