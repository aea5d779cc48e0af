"""Everything of ours out of the kernel, whoever put it there and in whichever mode; needs no ledger, no config."""

from __future__ import annotations

import contextlib

from synguard.enforcer.iptables import ipset
from synguard.enforcer.iptables.chains import dismantle, edit
from synguard.enforcer.iptables.rules import tables
from synguard.enforcer.iptables.xtables import existing_tables
from synguard.enforcer.names import FAMILIES
from synguard.errors import NotPermittedError, PlaneError, PlaneUnavailableError


def flush_kernel() -> None:
    """Remove our table, jumps, rules, chains and sets; every step is tried, whatever the steps before it met.

    Sets and the nf_tables table are ours whole, with what others put in. Foreign rules in our legacy chains stay, and
    so do those chains, without our jumps to them.

    Raises:
        NotPermittedError: The process lacks a capability.
        PlaneError: Something had to be left; the text names it all.
    """
    left = _remove_program() + _delete_table()
    left += _dismantle_legacy()
    left += _destroy_sets()
    if left:
        raise PlaneError("removing synguard's rules: left behind", "; ".join(dict.fromkeys(left)))


def remove_legacy_leftovers() -> None:
    """Remove what an iptables plane held, once the nftables plane holds it; what cannot go expires by itself."""
    with contextlib.suppress(PlaneError, NotPermittedError):
        _dismantle_legacy()
        _destroy_sets()


def remove_nftables_leftovers() -> None:
    """Remove what the nftables plane held, once an iptables plane holds it; what cannot go expires by itself."""
    with contextlib.suppress(PlaneError, NotPermittedError):
        _delete_table()


def _remove_program() -> list[str]:
    from synguard.enforcer.challenge.program import remove_all  # what handles its maps takes 0.1 s to import

    try:
        remove_all()
    except PlaneUnavailableError:  # no libbpf, so no program of ours
        return []
    except PlaneError as error:
        return [str(error)]
    return []


def _delete_table() -> list[str]:
    from synguard.enforcer.nftables import nft
    from synguard.enforcer.nftables.layout import TABLE

    try:
        nft.run(["delete", "table", *TABLE.split()])
    except PlaneUnavailableError:  # no tool or no nf_tables, so no table of ours
        return []
    except PlaneError as error:
        return [str(error)]
    except nft.NftFailedError as error:
        return [] if error.absent else [f"table {TABLE}: {error.detail}"]
    return []


def _dismantle_legacy() -> list[str]:
    left: list[str] = []
    for table in tables(FAMILIES):
        try:
            if table.name in existing_tables(table.family):
                edit(table, lambda copy: dismantle(copy, left))
        except NotPermittedError:
            raise
        except PlaneError as error:
            left.append(str(error))
    return left


def _destroy_sets() -> list[str]:
    try:
        names = ipset.names()
    except PlaneUnavailableError:  # no tool, so no sets of ours that a tool could have made
        return []
    except PlaneError as error:
        return [str(error)]
    refusals = {name: ipset.destroy(name) for name in names}
    return [f"set {name}: {why}" for name, why in refusals.items() if why]
