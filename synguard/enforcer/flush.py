"""Everything of ours out of the kernel, whoever put it there and in whichever mode; needs no ledger, no config."""

from __future__ import annotations

from synguard.enforcer import ipset
from synguard.enforcer.frame import dismantle, edit
from synguard.enforcer.names import FAMILIES
from synguard.enforcer.rules import tables
from synguard.enforcer.xtables import existing_tables
from synguard.errors import NotPermittedError, PlaneError, PlaneUnavailableError


def flush_kernel() -> None:
    """Remove our jumps, rules, chains and sets; every step is tried, whatever the steps before it met.

    Sets are ours whole, with members that others put in. Foreign rules in our chains stay, and so do those chains,
    without our jumps to them.

    Raises:
        NotPermittedError: The process lacks a capability.
        PlaneError: Something had to be left; the text names it all.
    """
    left: list[str] = []
    for table in tables(FAMILIES):
        try:
            if table.name in existing_tables(table.family):
                edit(table, lambda copy: dismantle(copy, left))
        except NotPermittedError:
            raise
        except PlaneError as error:
            left.append(str(error))
    left += _destroy_sets()
    if left:
        raise PlaneError("removing synguard's rules: left behind", "; ".join(dict.fromkeys(left)))


def _destroy_sets() -> list[str]:
    try:
        names = ipset.names()
    except PlaneUnavailableError:  # no tool, so no sets of ours that a tool could have made
        return []
    except PlaneError as error:
        return [str(error)]
    refusals = {name: ipset.destroy(name) for name in names}
    return [f"set {name}: {why}" for name, why in refusals.items() if why]
