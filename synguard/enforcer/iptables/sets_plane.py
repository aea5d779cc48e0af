"""The iptables plane with members in ipsets: one fixed rule per kind of set, all traffic of changes through sets."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import ClassVar, Final

from synguard.addresses import format_network
from synguard.capabilities import require_capabilities
from synguard.enforcer import flush
from synguard.enforcer.iptables import ipset, set_lookup, set_members
from synguard.enforcer.iptables.chains import edit, mend
from synguard.enforcer.iptables.rules import Rule, tables
from synguard.enforcer.iptables.saved_text import stopped_in
from synguard.enforcer.iptables.set_members import SavedSets, frame_lines, headers, lines_by_set, member_lines
from synguard.enforcer.iptables.tables import check_tables, look_over, show_chains
from synguard.enforcer.iptables.xtables import families_here
from synguard.enforcer.limits import ensure_possible
from synguard.enforcer.plane import Actual, Delta, Stopped
from synguard.memory import many_objects
from synguard.model import Ban, KernelBan

_TRIAL: Final = Rule("synguard trial", "DROP", tcp=True, syn=True)
"""Uses all that a fixed rule may use but for the set, which would have to be there."""


class IptablesSetsPlane:
    """Legacy xtables and ipset. ``utcnow`` turns expiries into timeouts; a set holds ``ceiling`` members at most."""

    name: ClassVar[str] = "iptables-sets"

    ceiling_key: ClassVar[str] = ipset.CEILING

    def __init__(self, utcnow: Callable[[], datetime], ceiling: int | None = None) -> None:
        self._utcnow = utcnow
        self.ceiling = ceiling or set_members.MAX_ELEMENTS
        self._tables = tables(families_here())

    @cached_property
    def show_command(self) -> str:
        """The command that shows an operator our rules."""
        return f"{show_chains()}; ipset save | grep synguard"

    def check(self) -> None:
        """Return if capabilities, tables, tool and kernel are there; see `Plane.check`."""
        require_capabilities()
        check_tables(self._tables, (_TRIAL,), ("tcp", "set", "comment"))
        ipset.check()

    def read(self) -> Actual:
        """Read back sets and chains."""
        saved = ipset.save(self.ceiling)
        missing, foreign = look_over(self._tables)
        return saved.actual(missing, foreign)

    def stopped(self) -> Stopped:
        """Return what the sets stop, from the text of one read-back."""
        text = ipset.saved_text()
        heads = SavedSets(most=self.ceiling, headers=headers(text))
        return self._with_frame(stopped_in(text), [f"set {name}" for name in heads.unfit])

    def stopped_of(self, bans: Iterable[Ban]) -> Stopped:
        """Return which of these bans the sets stop: each member is asked for."""
        asked = [(ban, set_members.place(ban)[0]) for ban in bans if not ban.at_interface]
        there = set_lookup.held(asked)
        return self._with_frame(Stopped({format_network(ban.target) for ban, _ in asked if ban.id in there}))

    def _with_frame(self, found: Stopped, gone: Sequence[str] = ()) -> Stopped:
        missing = (*gone, *look_over(self._tables)[0])
        return replace(found, targets=frozenset() if missing else found.targets, missing=missing)

    def read_in_pieces(self) -> Generator[None, None, Actual]:
        """Read back the same, a piece each time it is asked."""
        saved = yield from ipset.save_in_pieces(self.ceiling)
        missing, foreign = look_over(self._tables)
        return saved.actual(missing, foreign)

    def apply(self, change: Delta) -> None:
        """Make the change: one stream into the sets, then, only to mend, the tables."""
        if not change:
            return
        ensure_possible(change)
        with many_objects():
            lines = list(member_lines(change, self._utcnow()))
        frame: list[str] = []
        if change.frame:
            frame += frame_lines(headers(ipset.saved_text()), lines_by_set(lines), self.ceiling)
        ipset.restore([*frame, *lines])
        if change.frame:
            for table in self._tables:
                edit(table, mend)
            flush.remove_nftables_leftovers()

    def place(self, ban: Ban | KernelBan) -> tuple[str, int]:
        """Return the set that a ban is in, and how many members it has there."""
        return set_members.place(ban)

    def flush(self) -> None:
        """Remove everything of ours, of every plane and release."""
        flush.flush_kernel()
