"""A kernel setting changed for the length of an incident: the old value noted first, then the kernel, and put back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from synguard.decision.syn_cookies import OFF, ON, CookieStep, next_step
from synguard.enforcer.sysctl import SYN_COOKIES, Settings
from synguard.enforcer.sysctl_note import SysctlNote, SysctlNoteFile
from synguard.errors import PlaneError, SynguardError
from synguard.logs import event
from synguard.output.times import both_zones
from synguard.status.model import CountermeasureStatus

log: Final = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
"""How soon somebody else's change of the value is noticed."""
RETRY_S: Final = 30.0
"""What the kernel refused, it refuses the next instant too."""

Tell = Callable[[datetime, str], None]


class BorrowedSysctl:  # wide: a small state machine whose states are read side by side
    """Brings one sysctl to what is wanted and puts the operator's value back once nothing is."""

    def __init__(self, settings: Settings, notes: SysctlNoteFile, tell: Tell, failure: str, *, dry_run: bool) -> None:
        self._settings, self._notes, self._tell, self._failure = settings, notes, tell, failure
        self._dry_run = dry_run
        self._name: Final = notes.setting
        self._wanted, self._yielded = OFF, False
        self._look_due = float("-inf")
        self.actual = OFF
        """The kernel's value as of the last look."""
        self.held: SysctlNote | None = None
        """What we made of the operator's value; None while it is his own."""
        self.story = ""
        """What was done in this incident, one clause."""
        self.problem = ""
        """Why the value is not as it should be, one sentence; empty while it is."""

    def adopt(self, now: float) -> bool:
        """Take over what a killed agent left changed; return whether there is any."""
        note = self._notes.read()
        if note is None:
            return False
        try:
            if self._settings.read(self._name) != note.made:  # put back by hand, or never changed
                self._notes.remove()
                return False
        except SynguardError as error:
            self._failed(error, now)
        text = "%s is still %d from an agent that was killed; %d comes back at calm"
        log.warning(text, self._name, note.made, note.before, extra=event("cookies"))
        self.held = note
        changed = "SYN cookies on" if self._name == SYN_COOKIES else f"{self._name} {note.made}"
        self.story = f"{changed} since {both_zones(note.since)}, {self._name} was {note.before}"
        return True

    def follow(self, wanted: int, why: str, now: float, utc: datetime) -> None:
        """Bring the setting to ``wanted``, or back to what it was where that is `OFF`; ``why`` is told of a change."""
        if wanted != self._wanted:
            self._wanted, self._look_due = wanted, min(self._look_due, now)
        if (wanted or self.held) and now >= self._look_due:
            self._look_due = now + LOOK_EVERY_S
            self._try(lambda: self._bring(wanted, why, utc), now)
        if not wanted:
            self._yielded = False
            self.problem = self.problem if self.held else ""

    def close(self, utc: datetime) -> None:
        """Put the operator's value back, calm or not: no one will be there to do it later."""
        if self.held:
            self._try(lambda: self._bring(OFF, "", utc), 0.0)

    def status(self, name: str) -> tuple[CountermeasureStatus, ...]:
        """Return what is in force now, for the status; nothing while nothing is."""
        held = self.held
        if held is None:
            return ()
        return (
            CountermeasureStatus(
                name=name,
                setting=self._name,
                before=held.before,
                now=held.made,
                since=held.since,
                dry_run=self._dry_run,
                text=self.story,
            ),
        )

    def _bring(self, wanted: int, why: str, utc: datetime) -> None:
        actual = self.actual = self._settings.read(self._name)
        held = None if self.held is None else self.held.made
        step = next_step(wanted=wanted, actual=actual, held=held, yielded=self._yielded)
        if step is CookieStep.TURN_ON:
            self._change(wanted, actual, why, utc)
        elif step is CookieStep.PUT_BACK and self.held:
            self._put_back(self.held, utc)
        elif step is CookieStep.YIELD:
            self._yield(actual, utc)

    def _change(self, wanted: int, actual: int, why: str, utc: datetime) -> None:
        before = actual if self.held is None else self.held.before
        note = self._notes.write(before, utc, wanted)
        try:
            self._settings.write(self._name, wanted)
        except PlaneError:
            self._notes.remove()
            raise
        self.held, self.actual = note, wanted
        if wanted == ON and self._name == SYN_COOKIES:
            done = "would turn SYN cookies on" if self._dry_run else "turned SYN cookies on"
            self.story = f"{done} at {both_zones(utc)}, {self._name} was {before}"
            self._tell(utc, f"{done}: {why} ({self._name} was {before})")
            return
        done = f"{'would set' if self._dry_run else 'set'} {self._name} to {wanted}"
        self.story = f"{done} at {both_zones(utc)}, it was {before}"
        self._tell(utc, f"{done}: {why} (it was {before})")

    def _put_back(self, held: SysctlNote, utc: datetime) -> None:
        self._settings.write(self._name, held.before)
        self.held, self.actual = None, held.before
        self.story += f", {'would be ' if self._dry_run else ''}back to {held.before} at {both_zones(utc)}"
        self._tell(utc, f"{'would put' if self._dry_run else 'put'} {self._name} back to {held.before}")
        self._notes.remove()

    def _yield(self, actual: int, utc: datetime) -> None:
        self.held, self._yielded = None, True
        self.story += f", then set to {actual} by another program"
        self._tell(utc, f"leaving {self._name} at {actual}, which another program has set")
        self._notes.remove()

    def _try(self, act: Callable[[], None], now: float) -> None:
        try:
            act()
        except SynguardError as error:
            self._failed(error, now)
        else:
            self.problem = ""

    def _failed(self, error: SynguardError, now: float) -> None:
        self._look_due = now + RETRY_S
        self.problem = f"{self._failure}: {error}"
