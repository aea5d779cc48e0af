"""A plane in memory that behaves as the kernel does: all or nothing, with its limits, failures and other users."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar, TypeVar

from synguard.enforcer.iptables.set_members import MAX_ELEMENTS
from synguard.enforcer.limits import ensure_possible
from synguard.enforcer.plane import Actual, Delta
from synguard.enforcer.reconcile.delta import after, without_expired
from synguard.errors import NotPermittedError, PlaneError
from synguard.model import Ban, Hits, KernelBan

T = TypeVar("T")

EMPTY = Actual(missing=("everything",))


def _now() -> datetime:
    return datetime.now(UTC)


class FakePlane:
    """Holds an `Actual`.

    ``calls`` names each call that reached it. ``failures`` maps a step (``check``, ``read``, ``apply``, ``flush``) to
    the errors that its next calls raise, first one first; nothing is changed by a call that fails. ``meanwhile`` are
    things that other processes do, one before each coming call.
    """

    name: ClassVar[str] = "fake"
    ceiling_key: ClassVar[str] = "ceilings.members"
    show_command: ClassVar[str] = "true"

    def __init__(self, utcnow: Callable[[], datetime] = _now, max_elements: int = MAX_ELEMENTS) -> None:
        self.utcnow = utcnow
        self.max_elements = max_elements
        self.actual = EMPTY
        self.calls: list[str] = []
        self.changes: list[Delta] = []
        self.failures: dict[str, list[Exception]] = {}
        self.meanwhile: list[Callable[[FakePlane], None]] = []
        self.permitted = True

    @property
    def ceiling(self) -> int:
        """How many members it holds at most."""
        return self.max_elements

    def place(self, ban: Ban | KernelBan) -> tuple[str, int]:
        """Return its only place, and how many members a ban has there."""
        return "the set", len(ban.ports) or 1

    def check(self) -> None:
        """Return if it is permitted."""
        self._begin("check")
        if not self.permitted:
            raise NotPermittedError("Changing firewall rules needs CAP_NET_ADMIN: run as root, or grant it.")

    def read(self) -> Actual:
        """Return what is held, less what has expired."""
        self._begin("read")
        self._expire()
        return self.actual

    def apply(self, change: Delta) -> None:
        """Make the whole change or none of it."""
        if not change:
            return
        self._begin("apply")
        self._expire()
        ensure_possible(change)
        if not self.actual.intact and not change.frame:
            raise PlaneError("filling sets", "The set with the given name does not exist")
        coming = replace(change, add=tuple(ban for ban in change.add if ban.active(self.utcnow())))
        result = after(self.actual, coming)
        members = sum(len(held.ports) or 1 for held in result.bans.values())
        if members > self.max_elements:
            raise PlaneError("filling sets", f"Hash is full; the ceiling is {self.max_elements} members")
        self.changes.append(change)
        self.actual = result

    def flush(self) -> None:
        """Hold nothing but what is foreign."""
        self._begin("flush")
        self.actual = replace(EMPTY, foreign=self.actual.foreign)

    def fail_next(self, step: str, *errors: Exception) -> None:
        """Let the next calls of a step fail, one error each."""
        self.failures.setdefault(step, []).extend(errors)

    def lose(self, *ban_ids: str) -> None:
        """Let somebody remove these bans."""
        kept = {ban_id: held for ban_id, held in self.actual.bans.items() if ban_id not in ban_ids}
        self.actual = replace(self.actual, bans=kept)

    def wipe(self) -> None:
        """Let somebody remove everything of ours."""
        self.actual = replace(EMPTY, foreign=self.actual.foreign)

    def damage(self, part: str) -> None:
        """Let somebody remove a part of the frame."""
        self.actual = replace(self.actual, intact=False, missing=(*self.actual.missing, part))

    def count(self, ban_id: str, packets: int, octets: int = 0) -> None:
        """Let the kernel count packets against a ban."""
        held = replace(self.actual.bans[ban_id], hits=Hits(packets, octets))
        self.actual = replace(self.actual, bans={**self.actual.bans, ban_id: held})

    def tamper(self, foreign: str) -> None:
        """Let somebody put an entry of theirs into our chains; nobody else may remove it."""
        self.actual = replace(self.actual, foreign=(*self.actual.foreign, foreign))

    def _begin(self, step: str) -> None:
        if self.meanwhile:
            self.meanwhile.pop(0)(self)
        self.calls.append(step)
        errors = self.failures.get(step)
        if errors:
            raise errors.pop(0)

    def _expire(self) -> None:
        self.actual = without_expired(self.actual, self.utcnow())


class PatientFake(FakePlane):
    """A fake that can be read back in pieces; its view is of the moment of the first one."""

    PIECES: ClassVar[int] = 3

    def read_in_pieces(self) -> Generator[None, None, Actual]:
        """Return what is held, after some pauses."""
        seen = self.read()
        for _ in range(self.PIECES):
            yield
        return seen


class FaultyFake(FakePlane):
    """A fake whose named steps fail at every first try, as a kernel without memory does; the caller tries again.

    What the contract asks of every plane must hold for it too: a call that failed has left nothing behind, and a call
    repeated is a call made once.
    """

    def __init__(self, utcnow: Callable[[], datetime] = _now, *steps: str) -> None:
        super().__init__(utcnow)
        self.steps = frozenset(steps)

    def read(self) -> Actual:
        """Return what is held, at the second try."""
        return self._again("read", super().read)

    def apply(self, change: Delta) -> None:
        """Make the whole change, at the second try."""
        self._again("apply", lambda: super(FaultyFake, self).apply(change), tries=bool(change))

    def flush(self) -> None:
        """Hold nothing, at the second try."""
        self._again("flush", super().flush)

    def _again(self, step: str, call: Callable[[], T], tries: bool = True) -> T:
        if step in self.steps and tries:
            before = self.actual
            self.fail_next(step, PlaneError(f"step {step}", "Cannot allocate memory"))
            try:
                call()
            except PlaneError as error:
                if self.actual != before:
                    raise AssertionError(f"a failed {step} changed what is held") from error
            else:
                raise AssertionError(f"{step} did not fail")
        return call()
