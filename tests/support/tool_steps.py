"""Every call of a real plane into the kernel as a numbered step, before and after which anything may happen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import pytest

from synguard.enforcer.iptables import ipset
from synguard.enforcer.iptables.ipset import IpsetFailedError
from synguard.enforcer.iptables.rules import XtablesTable
from synguard.enforcer.iptables.xtables import XTable
from synguard.enforcer.nftables import elements as nft_elements
from synguard.enforcer.nftables import nft, parser, plane
from synguard.enforcer.nftables.nft import NftFailedError
from synguard.errors import PlaneError

T = TypeVar("T")
Hook = Callable[[int, str, bool], None]
"""Told the number and name of a step, and whether it is done already; may raise, or end the process."""

NO_MEMORY: Final = "Cannot allocate memory"


class Steps:
    """Counts the calls from now on, by name; ``hook`` is asked before and after each."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.hook: Hook | None = None
        run_ipset, run_nft, elements, look = ipset._run, nft.run, nft_elements.elements_of, parser.read_frame
        opened, commit = XTable.__init__, XTable.commit

        def ipset_step(arguments: Sequence[str], lines: Sequence[str] = ()) -> str:
            reads = arguments[0] in ("list", "restore") and all(line.startswith("save ") for line in lines)
            return self._around(f"{'read' if reads else 'write'} ipset {arguments[0]}", run_ipset, arguments, lines)

        def nft_step(arguments: Sequence[str], lines: Sequence[str] = ()) -> str:
            return self._around(f"write nft {' '.join(arguments)}", run_nft, arguments, lines)

        def elements_step(table: str, name: str) -> Any:
            return self._around(f"read nft set {name}", elements, table, name)

        def look_step(most: int | None = None) -> Any:
            return self._around("read nft frame", look, most)

        def open_step(table: XTable, of: XtablesTable) -> None:
            self._around(f"read {of}", opened, table, of)

        def commit_step(table: XTable) -> None:
            self._around(f"write {table.table}", commit, table)

        patch.setattr(ipset, "_run", ipset_step)
        patch.setattr(nft, "run", nft_step)
        patch.setattr(plane, "elements_of", elements_step)
        patch.setattr(plane, "read_frame", look_step)
        patch.setattr(XTable, "__init__", open_step)
        patch.setattr(XTable, "commit", commit_step)

    def begin(self, hook: Hook | None = None) -> None:
        """Count anew, with this hook."""
        self.names.clear()
        self.hook = hook

    def _around(self, name: str, call: Callable[..., T], *given: Any) -> T:
        number = len(self.names)
        self.names.append(name)
        if self.hook is not None:
            self.hook(number, name, False)
        result = call(*given)
        if self.hook is not None:
            self.hook(number, name, True)
        return result


def failing(number: int, *, done: bool) -> Hook:
    """Return a hook that lets one step fail as its tool would: before it did anything, or with its work ``done``."""

    def hook(step: int, name: str, after: bool) -> None:
        if step == number and after is done:
            raise failure(name)

    return hook


def failure(name: str) -> Exception:
    """Return what a step of this name raises where the kernel has no memory, which may strike any call."""
    if "ipset" in name:
        return IpsetFailedError(f"Kernel error received: {NO_MEMORY}", 0)
    if "read nft" in name:
        return PlaneError("reading nf_tables", NO_MEMORY)
    if "nft" in name:
        return NftFailedError(f"Could not process rule: {NO_MEMORY}", "")
    return PlaneError(f"committing {name}", NO_MEMORY)
