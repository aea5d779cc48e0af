"""Two planes as one: the firewall holds drops and rejects, the challenge program what happens at the interface.

The program comes before the firewall. A SYN that it answered would never meet a drop, and the client's ACK is no new
connection: so the program is given copies of the firewall's bans too, as many as it has room for. It drops what is
dropped, and leaves to the firewall what is rejected.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Final, TypeVar

from synguard.enforcer.held_bans import HeldBans
from synguard.enforcer.plane import Actual, Delta, PatientPlane, Plane
from synguard.model import NO_HITS, ON_HANDSHAKES, Ban, KernelBan, Origin, Scope

_Held = TypeVar("_Held", Ban, KernelBan)

COPIES: Final = 4_096
"""Bans of the firewall that the program holds as well: half of its places. Beyond, a banned source that is challenged
with everyone else on a port, and holds its address, connects; a ban of scope all stops it all the same."""
COPIES_OF_ALL: Final = 1_024
"""Copies up to which bans of scope all are given it too: a long list of these must not take the place of the others."""
PORTS_OF_COPIES: Final = 127
"""Ports that copies may name; a ban that would name more is held by the firewall alone, like those beyond `COPIES`."""
AT_A_TIME: Final = 16
"""Copies of these that a change gives it that mends nothing, of bans that are not the agent's own: one takes 0.4 ms,
and lists come by hundreds."""


class SplitPlane:
    """A plane of the firewall and the program beside it; each ban is held by one of them, as its action says."""

    def __init__(self, firewall: Plane, program: Plane, most_copies: int = COPIES) -> None:
        self.firewall: Final = firewall
        self.program: Final = program
        self.copies: Final = most_copies
        """Bans of the firewall that the program holds as well; 0 where no program runs."""
        self._copied: set[str] = set()
        self._ports: set[int] = set()
        """Ports that copies name, or named when the program was last read."""
        self._lacking: tuple[KernelBan, ...] = ()
        """Bans that the program had no copy of when it was last read, as many as it has room for."""

    @property
    def name(self) -> str:
        """The name of the firewall's plane."""
        return self.firewall.name

    @property
    def show_command(self) -> str:
        """The command that shows the firewall's rules."""
        return self.firewall.show_command

    @property
    def ceiling(self) -> int:
        """How much one place of the firewall may hold; the program's takes no more."""
        return self.firewall.ceiling

    @property
    def ceiling_key(self) -> str:
        """The configuration's key of the ceiling."""
        return self.firewall.ceiling_key

    def place(self, ban: Ban | KernelBan) -> tuple[str, int]:
        """Return where the ban is held and how much of the ceiling it takes there."""
        return (self.program if ban.at_interface else self.firewall).place(ban)

    def check(self) -> None:
        """Return if both work here.

        Raises:
            PlaneUnavailableError: One of them cannot work on this host.
            NotPermittedError: The process lacks a capability.
        """
        self.firewall.check()
        self.program.check()

    def read(self) -> Actual:
        """Read back both.

        Raises:
            PlaneError: One of them could not be asked.
        """
        return self._joined(self.firewall.read(), self.program.read())

    def apply(self, change: Delta) -> None:
        """Make the change, the firewall's part first.

        Raises:
            PlaneError: One of them refused; what was applied so far shows in the next ``read``.
        """
        if not self.copies and not any(one.at_interface for of in (change.add, change.remove) for one in of):
            self.firewall.apply(change)
            self.program.apply(replace(change, add=(), remove=()))
            return
        self.firewall.apply(
            replace(
                change,
                add=tuple(ban for ban in change.add if not ban.at_interface),
                remove=tuple(held for held in change.remove if not held.at_interface),
            )
        )
        gone = tuple(held for held in change.remove if not held.remains)  # the program has one of each ban
        removed = {held.ban_id for held in gone}
        lacking = [_as_ban(held) for held in self._lacking if change.frame and held.ban_id not in removed]
        coming = [*lacking, *(ban for ban in change.add if not ban.at_interface)]
        copies = self._copies(coming, COPIES_OF_ALL if change.frame else AT_A_TIME)
        self.program.apply(
            replace(
                change,
                remove=gone,
                add=(*(ban for ban in change.add if ban.at_interface), *copies),
                proven_add=frozenset(peer for peer in change.proven_add if peer.prefixlen == peer.max_prefixlen),
            )
        )
        self._lacking = () if change.frame else self._lacking
        self._copied -= removed
        self._copied |= {ban.id for ban in copies}

    def _copies(self, bans: Iterable[Ban], most_listed: int) -> list[Ban]:
        """Return which of the firewall's bans the program is given now."""
        new, own, listed = list[Ban](), list[Ban](), list[Ban]()
        for ban in bans:
            (new if ban.scope is Scope.NEW else own if ban.origin is Origin.AUTO else listed).append(ban)
        copies = [*islice(_told_apart(new, self._ports), self._room(self.copies))]
        return copies + [*own, *listed[:most_listed]][: max(self._room(COPIES_OF_ALL) - len(copies), 0)]

    def _room(self, most: int) -> int:
        return max(min(most, self.copies) - len(self._copied), 0)

    def _joined(self, firewall: Actual, program: Actual) -> Actual:
        """Return what both hold; bans of scope ``new`` that the program should have a copy of are a missing part."""
        known, bans = program.bans, firewall.bans
        if not self.copies:  # no program: its half is in memory, and says nothing of the kernel
            return replace(firewall, bans=_with(bans, (held for held in known.values() if held.at_interface)))
        self._copied = {ban_id for ban_id in known if ban_id in bans}
        self._ports = {port for ban_id in self._copied for port in known[ban_id].ports}
        ports = {*self._ports}
        new, of_all = (
            tuple(islice(_told_apart(_lacking(bans, scope, known), ports), self._room(most)))
            for scope, most in ((Scope.NEW, self.copies), (Scope.ALL, COPIES_OF_ALL))
        )
        self._lacking = (*new, *of_all)
        lacking = (f"{len(new)} bans in the challenge program",) if new else ()
        return Actual(
            bans=_with(
                bans,
                (
                    _joined(held, bans.get(ban_id))
                    for ban_id, held in known.items()
                    if held.at_interface or held.hits != NO_HITS or ban_id not in bans
                ),
            ),
            allow=firewall.allow & program.allow,
            proven=firewall.proven & program.proven,
            intact=firewall.intact and program.intact and not lacking,
            missing=(*firewall.missing, *program.missing, *lacking),
            foreign=(*firewall.foreign, *program.foreign),
            outdated=firewall.outdated,
        )

    def flush(self) -> None:
        """Remove everything of ours from both; the second is tried whatever the first met."""
        try:
            self.program.flush()
        finally:
            self.firewall.flush()


class PatientSplitPlane(SplitPlane):
    """The same, where the firewall can be read back in pieces."""

    def read_in_pieces(self) -> Generator[None, None, Actual]:
        """Read back both, pausing again and again; the program's maps are read at one go.

        Raises:
            PlaneError: One of them could not be asked.
        """
        firewall = self.firewall
        program = self.program.read()
        if not isinstance(firewall, PatientPlane):  # only made for one that is
            return self._joined(firewall.read(), program)
        actual = yield from firewall.read_in_pieces()
        return self._joined(actual, program)


def _told_apart(bans: Iterable[_Held], ports: set[int]) -> Iterator[_Held]:
    """Yield those whose ports the program tells apart beside these, to which the ports of what is yielded are added."""
    for ban in bans:
        if len(ports.union(ban.ports)) <= PORTS_OF_COPIES:
            ports.update(ban.ports)
            yield ban


def _lacking(bans: Mapping[str, KernelBan], scope: Scope, known: Mapping[str, KernelBan]) -> Iterator[KernelBan]:
    """Yield the bans of one scope that are not known."""
    return (held for held in _of_scope(bans, scope) if held.ban_id not in known)


def _of_scope(bans: Mapping[str, KernelBan], scope: Scope) -> Iterator[KernelBan]:
    """Yield the bans of one scope; in columns the others cost next to nothing."""
    if isinstance(bans, HeldBans):
        yield from (bans[ban.id] for ban in bans.rows.select(lambda _, shape: shape[0] is scope))
    else:
        yield from (held for held in bans.values() if held.scope is scope)


def split_plane(firewall: Plane, program: Plane, most_copies: int = COPIES) -> SplitPlane:
    """Return both as one plane, which can be read back in pieces if the firewall's can."""
    return (PatientSplitPlane if isinstance(firewall, PatientPlane) else SplitPlane)(firewall, program, most_copies)


def _joined(held: KernelBan, copied: KernelBan | None) -> KernelBan:
    """Return what the program holds with what the firewall holds of the same ban."""
    return held if copied is None or held.at_interface else replace(copied, hits=copied.hits + held.hits)


def _with(bans: Mapping[str, KernelBan], more: Iterable[KernelBan]) -> Mapping[str, KernelBan]:
    """Return these and more; columns are changed in place."""
    joined = bans if isinstance(bans, HeldBans) else dict(bans)
    for held in [*more]:
        joined[held.ban_id] = held
    return joined


def _as_ban(held: KernelBan) -> Ban:
    """Return what the program needs to know of a ban that the firewall holds."""
    began = datetime.min.replace(tzinfo=UTC)
    return Ban(
        held.ban_id, held.target, held.scope, held.action,
        Origin.AUTO if held.refuses_proven else Origin.MANUAL, "", "", began, held.expires_at, held.ports,
        evidence=ON_HANDSHAKES if held.refuses_proven else (),
    )  # fmt: skip
