"""The plane of the challenge program: bans that challenge, limit, or drop one SYN header."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import datetime
from typing import ClassVar, Final

from synguard.addresses import Network
from synguard.enforcer.challenge import layout, program
from synguard.enforcer.challenge.ban_maps import BanMaps
from synguard.enforcer.challenge.program import Program
from synguard.enforcer.limits import ensure_possible
from synguard.enforcer.plane import Actual, Delta
from synguard.errors import PlaneError
from synguard.model import Ban, KernelBan
from synguard.netlink import interface_name

_NOT_LOADED: Final = "the challenge program is not loaded"
_CUT_SHORT: Final = "part of a change to the bans of the challenge program"


class ChallengePlane:
    """Holds the bans that ``Ban.at_interface`` names, in the program's maps.

    The frame is the program itself, attached to the interfaces where client traffic enters. Bans are dropped by the
    program at their deadline; expired ones are not read back.
    """

    name: ClassVar[str] = "challenge"
    show_command: ClassVar[str] = "bpftool map dump name notes"
    ceiling: ClassVar[int] = layout.BANS - 1
    ceiling_key: ClassVar[str] = "challenge.bans"

    def __init__(
        self,
        utcnow: Callable[[], datetime],
        interfaces: Callable[[], Collection[int]],
        limit_per_second: float = 100.0,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Make a plane.

        Args:
            utcnow: The wall clock.
            interfaces: Returns where the program belongs, each by ifindex.
            limit_per_second: SYNs a second of one target that a ban with the action ``limit`` answers.
            monotonic_ns: The kernel's ``CLOCK_MONOTONIC``.
        """
        self._utcnow, self._monotonic_ns = utcnow, monotonic_ns
        self._interfaces = interfaces
        self._limit_per_second = limit_per_second
        self._bans: BanMaps | None = None
        self.program: Program | None = None
        """The program, once one was found or loaded; None after ``flush``."""

    def check(self) -> None:
        """Return if the kernel takes the program; it is loaded, attached nowhere, and stays loaded.

        Raises:
            PlaneUnavailableError: No libbpf, or a kernel that does not take it.
            NotPermittedError: It takes CAP_BPF and CAP_NET_ADMIN.
        """
        self._ensure_loaded()

    def read(self) -> Actual:
        """Read back what the program holds; a program that an earlier process left is taken over."""
        if self.program is None and (found := program.find()) is not None:
            self._take(found)
        if self.program is None or self._bans is None:
            return Actual(missing=(_NOT_LOADED,))
        bans = self._bans.read()
        missing = (*self._missing(self.program), *((_CUT_SHORT,) if self._bans.cut_short else ()))
        return Actual(
            bans=bans,
            allow=frozenset(self._bans.protected),
            proven=frozenset(self._bans.proven),
            intact=not missing,
            missing=missing,
        )

    @property
    def exceptions(self) -> frozenset[Network]:
        """Proven peers that no drop of the firewall stops, and no copy of one here."""
        return frozenset() if self._bans is None else self._bans.exceptions

    def place(self, ban: Ban | KernelBan) -> tuple[str, int]:
        """Return the program's place for bans, of which each takes one."""
        return "challenge", 1

    def apply(self, change: Delta) -> None:
        """Make the change; a ban that stays keeps its counts."""
        if not change:
            return
        _ensure_possible(change)
        if self.program is None:
            self.read()
        if change.frame:
            self._attach(self._ensure_loaded())
        if self._bans is None:
            raise PlaneError("changing bans of the challenge program", _NOT_LOADED)
        self._bans.change(change)

    def detach(self) -> None:
        """Leave every interface; what the program holds stays loaded, for ``apply`` to attach again."""
        if self.program is not None:
            for index in sorted(self.program.attached()):
                self.program.detach(index)

    def flush(self) -> None:
        """Remove the program from every interface, and with it all it holds."""
        program.remove_all()
        if self.program is not None:
            self.program.close()
        self.program = self._bans = None

    def _ensure_loaded(self) -> Program:
        return self.program or self._take(program.find() or program.load())

    def _take(self, found: Program) -> Program:
        self.program = found
        self._bans = BanMaps(found.maps, self._utcnow, self._monotonic_ns, self._limit_per_second)
        return found

    def _missing(self, running: Program) -> tuple[str, ...]:
        wanted, attached = set(self._interfaces()), running.attached()
        return (
            *(f"the challenge program at {interface_name(index)}" for index in sorted(wanted - attached)),
            *(f"the challenge program, also at {interface_name(index)}" for index in sorted(attached - wanted)),
        )

    def _attach(self, running: Program) -> None:
        wanted = set(self._interfaces())
        for index in sorted(running.attached() - wanted):
            running.detach(index)
        for index in sorted(wanted):
            running.attach(index)


def _ensure_possible(change: Delta) -> None:
    """Return if every added ban and exception can be held by the program.

    Raises:
        PlaneError: One that no plane can hold, or a proven peer that is no single address. Nothing has been changed.
    """
    ensure_possible(change, at_interface=True)
    for network in change.proven_add:
        if network.prefixlen != network.max_prefixlen:
            raise PlaneError(f"adding {network}", "a proven peer is a single address")
