"""The nftables plane: our own table, and one transaction per change."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Final

import tenacity

from synguard.addresses import format_network
from synguard.capabilities import require_capabilities
from synguard.enforcer import flush
from synguard.enforcer.held_bans import HeldBans
from synguard.enforcer.iptables.chains import ATTEMPTS
from synguard.enforcer.iptables.set_members import SetMembers
from synguard.enforcer.limits import ensure_possible
from synguard.enforcer.names import Kind
from synguard.enforcer.nftables import nft
from synguard.enforcer.nftables.elements import Element, elements_in_pieces, elements_of, single_elements
from synguard.enforcer.nftables.layout import MAX_ELEMENTS, NAME, TABLE, SetId, Slot, set_for
from synguard.enforcer.nftables.members import packed, take_elements, take_in_pieces, take_stopped
from synguard.enforcer.nftables.parser import TableFrame, read_frame
from synguard.enforcer.nftables.text import element_lines, frame_lines, kept_slots, removal_lines, sets_needed, slots
from synguard.enforcer.plane import Actual, Delta, Stopped
from synguard.errors import ChangedUnderneathError, PlaneError, PlaneUnavailableError
from synguard.memory import many_objects, paced
from synguard.model import Ban, Hits, KernelBan

DOING: Final = f"changing table {TABLE}"
_TRIAL: Final = f"{TABLE}-trial"
"""A table under this name is made and deleted within one transaction: no one ever sees it."""


class NftablesPlane:
    """nf_tables through ``nft``. ``utcnow`` turns expiries into timeouts; a set holds ``ceiling`` members at most."""

    name: ClassVar[str] = "nftables"
    show_command: ClassVar[str] = f"nft list table {TABLE}"

    ceiling_key: ClassVar[str] = "ceilings.members"

    def __init__(self, utcnow: Callable[[], datetime], ceiling: int | None = None) -> None:
        self._utcnow = utcnow
        self.ceiling = ceiling or MAX_ELEMENTS
        self._empty: set[SetId] = set()
        """Sets that held nothing when they were last read; the next change takes them away."""

    def check(self) -> None:
        """Return if capability, tool and kernel are there: the kernel makes our frame once, on trial, and drops it."""
        require_capabilities("CAP_NET_ADMIN")
        kinds = {SetId(Kind.ALL_DROP, 4, 24), SetId(Kind.PORT_REJECT, 6, 64)}
        trial = [line.replace(TABLE, _TRIAL, 1) for line in frame_lines(TableFrame(), kinds)]
        try:
            nft.commit([*trial, f"delete table {_TRIAL}"], "setting up a table of nf_tables on trial")
        except PlaneUnavailableError:
            raise
        except PlaneError as error:
            detail = f"{error.detail}; nftables 1.0 and Linux 5.10 or later can do it"
            raise PlaneUnavailableError(error.action, detail) from error

    def read(self) -> Actual:
        """Read back frame and members; a set twice as large takes four times as long, see docs/decisions/0013."""
        frame = read_frame(self.ceiling)
        members = SetMembers()
        self._empty = set()
        with many_objects():
            for one in _readable(frame):
                found = elements_of(NAME, one.name)
                take_elements(members, one, found)
                self._note(one, found)
        return _actual(frame, members)

    def stopped(self) -> Stopped:
        """Return what the sets stop, without a ban of them becoming an object."""
        frame = read_frame(self.ceiling)
        targets, hits = set[str](), dict[str, Hits]()
        with many_objects():
            for one in _readable(frame):
                if one.kind.action is not None:
                    take_stopped(targets, hits, one, elements_of(NAME, one.name))
        return Stopped(set() if frame.missing else targets, hits, frame.missing)

    def stopped_of(self, bans: Iterable[Ban]) -> Stopped:
        """Return which of these bans the sets stop: each element is asked for."""
        missing = read_frame(self.ceiling).missing
        asked = [(ban, slot) for ban in bans if not ban.at_interface and not missing for slot in slots(ban)]
        found = zip(asked, _single(slot for _, slot in asked), strict=True)
        gone = {ban.id for (ban, _), element in found if element is None}
        return Stopped({format_network(ban.target) for ban, _ in asked if ban.id not in gone}, missing=missing)

    def read_in_pieces(self) -> Generator[None, None, Actual]:
        """Read back the same, a piece each time it is asked; each set is seen at a moment of its own."""
        return (yield from paced(self._read_on()))

    def _read_on(self) -> Generator[None, None, Actual]:
        frame = read_frame(self.ceiling)
        members = SetMembers(bans=HeldBans())
        self._empty = set()
        for one in _readable(frame):
            found = yield from elements_in_pieces(NAME, one.name)
            yield from take_in_pieces(members, one, found)
            yield
            self._note(one, found)
        return _actual(frame, members)

    def _note(self, one: SetId, found: Sequence[Element]) -> None:
        if not found:
            self._empty.add(one)

    def apply(self, change: Delta) -> None:
        """Make the change in one transaction; sets that were found empty go afterwards, in another."""
        if not change:
            return
        ensure_possible(change)
        with many_objects():
            counts = _counts(kept_slots(change, self._utcnow()))
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(ChangedUnderneathError),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=0.005, max=0.2),
            reraise=True,
        )
        for attempt in attempts:
            with attempt:
                self._commit(change, counts, careful=attempt.retry_state.attempt_number > 1)
        if change.frame:
            flush.remove_legacy_leftovers()
        self._sweep(change)

    def flush(self) -> None:
        """Remove everything of ours, of every plane and release."""
        self._empty = set()
        flush.flush_kernel()

    def _commit(self, change: Delta, counts: Mapping[Slot, Hits], careful: bool) -> None:
        frame = read_frame(self.ceiling)
        if frame.missing and not change.frame:
            raise PlaneError(DOING, f"missing or changed: {', '.join(frame.missing[:3])}")
        now = self._utcnow()
        needed = sets_needed(change, now)
        there = frame.sets if frame.present and not frame.unfit else set()
        with many_objects():
            lines = [*frame_lines(frame, needed), *element_lines(change, now, there, counts, careful)]
        try:
            nft.commit(lines, DOING)
        except ChangedUnderneathError:
            raise
        except PlaneError as error:
            raise PlaneError(error.action, self._explained(error)) from error

    def _explained(self, error: PlaneError) -> str:
        if "Too many open files in system" in error.detail:  # ENFILE, which is how a full set answers
            return f"the set holds its ceiling of {self.ceiling} members: ban wider prefixes or remove bans"
        if "Device or resource busy" in error.detail:
            return f"{error.detail}; a rule of another program uses it: nft -a list ruleset shows where"
        if "Message too long" in error.detail:
            return f"{error.detail}; raise net.core.wmem_max"
        return error.detail

    def place(self, ban: Ban | KernelBan) -> tuple[str, int]:
        """Return the set that a ban is in, and how many elements it has there."""
        return f"set {set_for(ban).name}", len(ban.ports) or 1

    def _sweep(self, change: Delta) -> None:
        """Remove sets that were empty at the last read and still are; what others use stays, and costs a look-up."""
        now = self._utcnow()
        idle, self._empty = self._empty - sets_needed(change, now), set()
        with contextlib.suppress(PlaneError):
            frame = read_frame(self.ceiling) if idle else TableFrame()
            for one in sorted(idle & frame.sets):
                if not elements_of(NAME, one.name):
                    nft.commit(list(removal_lines(frame, [one])), f"removing set {one.name}")


def _counts(kept: list[Slot]) -> Mapping[Slot, Hits]:
    """Return element → counts as they are now; elements that are gone have none."""
    found = zip(kept, _single(kept), strict=True) if kept else ()
    return {slot: Hits(one.packets, one.bytes) for slot, one in found if one}


def _single(wanted: Iterable[Slot]) -> Iterator[Element | None]:
    return single_elements(NAME, ((slot[0].name, packed(slot)) for slot in wanted))


def _readable(frame: TableFrame) -> list[SetId]:
    return sorted(frame.sets) if frame.present and not frame.unfit else []


def _actual(frame: TableFrame, members: SetMembers) -> Actual:
    if not frame.present or frame.unfit:
        return Actual(missing=frame.missing, foreign=tuple(frame.foreign), outdated=bool(frame.unfit))
    return Actual(
        bans=members.bans,
        allow=frozenset(members.allow),
        proven=frozenset(members.proven),
        intact=not frame.missing,
        missing=frame.missing,
        foreign=(*members.foreign, *frame.foreign),
    )
