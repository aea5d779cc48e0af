"""SYN cookies for the length of an incident: the old value noted first, then the kernel, and put back at calm."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from synguard.clock import rfc3339
from synguard.decision.engine import Decision
from synguard.decision.syn_cookies import ALWAYS, OFF, ON, CookieNeed, CookieStep, next_step
from synguard.detector.assessment import Assessment
from synguard.enforcer.syn_cookies_note import CookieNote, CookieNoteFile, note_directories
from synguard.enforcer.sysctl import SYN_COOKIES, DryRunSysctl, Settings, Sysctl
from synguard.errors import LedgerError, PlaneError, SynguardError
from synguard.ledger import Ledger
from synguard.logs import event
from synguard.model import Mode
from synguard.policy.models import Config
from synguard.status.model import CountermeasureStatus

log: Final = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
"""How soon somebody else's change of the value is noticed."""
RETRY_S: Final = 30.0
"""What the kernel refused, it refuses the next instant too."""
ACTION: Final = "syn-cookies"
"""The kind of what is recorded of them."""

Recorder = Callable[[datetime, str, str], None]


class SynCookies:  # wide: a small state machine whose states are read side by side
    """Turns SYN cookies on while a SYN queue is overwhelmed and puts the operator's value back at calm.

    A rehearsal runs the same way on settings and notes that change nothing.
    """

    def __init__(self, settings: Settings, notes: CookieNoteFile, record: Recorder, config: Config) -> None:
        self._settings, self._notes, self._record = settings, notes, record
        self._dry_run = config.mode is Mode.DRY_RUN
        self._need = CookieNeed(config.incident.calm_for)
        self._allowed = True
        self._wanted, self._yielded = OFF, False
        self._actual = OFF
        self._held: CookieNote | None = None
        self._look_due = float("-inf")
        self._story = ""
        self.problem = ""
        """Why the value is not as it should be, one sentence; empty while it is."""
        self.use(config)

    def use(self, config: Config) -> None:
        """Go by another configuration from now on."""
        self._need.quiet_for = config.incident.calm_for
        self._allowed = config.countermeasure.syn_cookies == "auto"

    def adopt(self, now: float) -> None:
        """Take over what a killed agent left on; it is put back at calm, like what this one turns on."""
        note = self._notes.read()
        if note is None:
            return
        try:
            if self._settings.read(SYN_COOKIES) != note.made:  # put back by hand, or never turned on
                self._notes.remove()
                return
        except SynguardError as error:
            self._failed(error, now)
        text = "SYN cookies are still on from an agent that was killed; %d comes back at calm"
        log.warning(text, note.before, extra=event("cookies"))
        self._held = note
        self._need.resume(now)
        self._story = f"SYN cookies on since {rfc3339(note.since)}, {SYN_COOKIES} was {note.before}"

    @property
    def always(self) -> bool:
        """Whether listeners accept cookies that they did not send, as of the last look."""
        return self._actual == ALWAYS

    def follow(
        self, decision: Decision, assessment: Assessment, now: float, utc: datetime, *, challenged: bool = False
    ) -> Decision:
        """Bring the setting to what the incident needs; return the decision, its incident telling of that.

        ``challenged`` is whether any target is challenged, or is about to be.
        """
        need = ON if self._need.follow(assessment, decision.phase) and self._allowed else OFF
        wanted = ALWAYS if challenged else need
        if wanted != self._wanted:
            self._wanted, self._look_due = wanted, min(self._look_due, now)
        if (wanted or self._held) and now >= self._look_due:
            self._look_due = now + LOOK_EVERY_S
            self._try(lambda: self._bring(wanted, utc), now)
        if not wanted:
            self._yielded = False
            self.problem = self.problem if self._held else ""
        return self._telling(decision)

    def close(self, utc: datetime) -> None:
        """Put the operator's value back, calm or not: nobody will be there to do it later."""
        if self._held:
            self._try(lambda: self._bring(OFF, utc), 0.0)

    def status(self) -> tuple[CountermeasureStatus, ...]:
        """Return what is in force now, for the status; nothing while nothing is."""
        if self._held is None:
            return ()
        return (
            CountermeasureStatus(
                name=ACTION,
                setting=SYN_COOKIES,
                before=self._held.before,
                now=self._held.made,
                since=self._held.since,
                dry_run=self._dry_run,
                text=self._story,
            ),
        )

    def _bring(self, wanted: int, utc: datetime) -> None:
        actual = self._actual = self._settings.read(SYN_COOKIES)
        held = None if self._held is None else self._held.made
        step = next_step(wanted=wanted, actual=actual, held=held, yielded=self._yielded)
        if step is CookieStep.TURN_ON:
            self._turn_on(wanted, actual, utc)
        elif step is CookieStep.PUT_BACK and self._held:
            self._put_back(self._held, utc)
        elif step is CookieStep.YIELD:
            self._yield(actual, utc)

    def _turn_on(self, wanted: int, actual: int, utc: datetime) -> None:
        before = actual if self._held is None else self._held.before
        note = self._notes.write(before, utc, wanted)
        try:
            self._settings.write(SYN_COOKIES, wanted)
        except PlaneError:
            self._notes.remove()
            raise
        self._held, self._actual = note, wanted
        if wanted == ALWAYS:
            would = "would set" if self._dry_run else "set"
            self._story = f"{would} {SYN_COOKIES} to {ALWAYS} at {rfc3339(utc)}, it was {before}"
            self._tell(utc, f"{would} {SYN_COOKIES} to {ALWAYS}: SYNs are challenged (it was {before})")
            return
        turned = "would turn SYN cookies on" if self._dry_run else "turned SYN cookies on"
        self._story = f"{turned} at {rfc3339(utc)}, {SYN_COOKIES} was {actual}"
        self._tell(utc, f"{turned}: a SYN queue is full and turns clients away ({SYN_COOKIES} was {actual})")

    def _put_back(self, held: CookieNote, utc: datetime) -> None:
        self._settings.write(SYN_COOKIES, held.before)
        self._held, self._actual = None, held.before
        self._story += f", {'would be ' if self._dry_run else ''}back to {held.before} at {rfc3339(utc)}"
        put = "would put" if self._dry_run else "put"
        self._tell(utc, f"{put} {SYN_COOKIES} back to {held.before}")
        self._notes.remove()

    def _yield(self, actual: int, utc: datetime) -> None:
        self._held, self._yielded = None, True
        self._story += f", then set to {actual} by somebody else"
        self._tell(utc, f"leaving {SYN_COOKIES} at {actual}, to which somebody else has set it")
        self._notes.remove()

    def _telling(self, decision: Decision) -> Decision:
        incident, story = decision.incident, self._story
        if incident is None:
            self._story = story if self._held else ""
            return decision
        if not story:
            return decision
        note = f"{incident.note}; {story}" if incident.note else story
        return replace(decision, incident=replace(incident, note=note))

    def _tell(self, utc: datetime, text: str) -> None:
        log.warning("%s", text, extra=event("cookies"))
        try:
            self._record(utc, ACTION, text)
        except LedgerError as error:
            log.error("%s", error, extra=event("ledger"))

    def _try(self, act: Callable[[], None], now: float) -> None:
        try:
            act()
        except SynguardError as error:
            self._failed(error, now)
        else:
            self.problem = ""

    def _failed(self, error: SynguardError, now: float) -> None:
        self._look_due = now + RETRY_S
        self.problem = f"SYN cookies cannot be set for the incident: {error}"


def cookies_for(config: Config, ledger: Ledger, kernel: Settings | None = None) -> SynCookies:
    """Return the counter measure as the mode has it: in this network namespace, or rehearsed."""
    settings, notes = kernel or Sysctl(), CookieNoteFile(note_directories(config))
    if config.mode is Mode.ENFORCE:
        return SynCookies(settings, notes, ledger.record_action, config)
    if notes.read():
        text = "SYN cookies are on from an agent that was killed; synguard flush puts the old value back"
        log.warning(text, extra=event("cookies"))
    return SynCookies(DryRunSysctl(settings), CookieNoteFile(()), ledger.record_action, config)
