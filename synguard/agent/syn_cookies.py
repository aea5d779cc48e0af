"""SYN cookies for the length of an incident, and what challenged clients need of the kernel's settings beside them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

from synguard.agent.borrowed_sysctl import BorrowedSysctl
from synguard.agent.ledger_writer import ledger_failures_logged
from synguard.decision.engine import Decision
from synguard.decision.syn_cookies import ALWAYS, OFF, ON, CookieNeed
from synguard.detector.assessment import Assessment
from synguard.enforcer.sysctl import SYN_COOKIES, TCP_TIMESTAMPS, DryRunSysctl, Settings, Sysctl
from synguard.enforcer.sysctl_note import SysctlNoteFile, note_directories
from synguard.ledger import Ledger
from synguard.logs import event
from synguard.model import Mode
from synguard.policy.models import Config
from synguard.status.model import CountermeasureStatus

log: Final = logging.getLogger(__name__)

ACTION: Final = "syn-cookies"
"""The kind of what is recorded of them,"""
TIMESTAMPS_ACTION: Final = "tcp-timestamps"
"""and of the timestamps that carry the options of challenged clients."""
HANDSHAKE_S: Final = 3.0
"""What challenges need stays for so long after the last one: clients that were just answered send their ACK yet.

Where timestamps are 1 the kernel adds an offset to those of an ACK, and reads other options from them than we wrote.
"""
_OVERWHELMED: Final = "a SYN queue is full and turns clients away"
_LEFT_ALONE: Final = (
    f'countermeasure.syn_cookies is "never", and challenged clients get in only while {SYN_COOKIES} is {ALWAYS}'
)
_CHALLENGED: Final = "SYNs are challenged"

Recorder = Callable[[datetime, str, str], None]


class SynCookies:
    """Turns SYN cookies on while a SYN queue is overwhelmed and puts the operator's values back at calm.

    While SYNs are challenged both ``tcp_syncookies`` and ``tcp_timestamps`` are 2: listeners accept cookies that they
    did not send, and read window scale and SACK from the timestamp. Dry-run goes the same way on settings and
    notes that change nothing.
    """

    def __init__(
        self, settings: Settings, notes: Callable[[str], SysctlNoteFile], record: Recorder, config: Config
    ) -> None:
        self._record = record

        def borrowed(name: str, action: str, failure: str) -> BorrowedSysctl:
            dry_run = config.mode is Mode.DRY_RUN
            tell = partial(self._tell, action)
            return BorrowedSysctl(settings, notes(name), tell, failure, dry_run=dry_run)

        self._cookies = borrowed(SYN_COOKIES, ACTION, "SYN cookies cannot be set for the incident")
        self._timestamps = borrowed(
            TCP_TIMESTAMPS, TIMESTAMPS_ACTION, "challenged clients connect without window scale and SACK"
        )
        self._need = CookieNeed(config.incident.calm_for)
        self._allowed = True
        self._challenged_until = float("-inf")
        self.use(config)

    def use(self, config: Config) -> None:
        """Go by another configuration from now on."""
        self._need.quiet_for = config.incident.calm_for
        self._allowed = config.countermeasure.syn_cookies == "auto"

    def adopt(self, now: float) -> None:
        """Take over what a killed agent left on; it is put back at calm, like what this one turns on."""
        if self._cookies.adopt(now):
            self._need.resume(now)
        if self._timestamps.adopt(now):
            self._challenged_until = now + HANDSHAKE_S

    @property
    def problem(self) -> str:
        """Why a value is not as it should be, one sentence; empty while both are."""
        return self._cookies.problem or self._timestamps.problem

    @property
    def always(self) -> bool:
        """Whether listeners accept cookies that they did not send, as of the last look."""
        return self._cookies.actual == ALWAYS

    @property
    def why_no_challenge(self) -> str:
        """Why no one may be challenged whatever this host can do, one clause; empty where they may."""
        return "" if self._allowed or self.always else _LEFT_ALONE

    @property
    def timestamps(self) -> bool:
        """Whether listeners read window scale and SACK from timestamps without an offset, as of the last look."""
        return self._timestamps.actual == ALWAYS

    def follow(
        self, decision: Decision, assessment: Assessment, now: float, utc: datetime, *, challenged: bool = False
    ) -> Decision:
        """Bring the settings to what the incident needs; return the decision, its incident telling of that.

        ``challenged`` is whether any target is challenged, or is about to be.
        """
        if challenged:
            self._challenged_until = now + HANDSHAKE_S
        answered = now < self._challenged_until
        need = ON if self._need.follow(assessment, decision.phase) and self._allowed else OFF
        self._timestamps.follow(ALWAYS if answered else OFF, _CHALLENGED, now, utc)
        self._cookies.follow(ALWAYS if answered else need, _CHALLENGED if answered else _OVERWHELMED, now, utc)
        return self._telling(decision)

    def close(self, utc: datetime) -> None:
        """Put the operator's values back, calm or not: no one will be there to do it later."""
        self._cookies.close(utc)
        self._timestamps.close(utc)

    def status(self) -> tuple[CountermeasureStatus, ...]:
        """Return what is in force now, for the status; nothing while nothing is."""
        return self._cookies.status(ACTION) + self._timestamps.status(TIMESTAMPS_ACTION)

    def _telling(self, decision: Decision) -> Decision:
        incident = decision.incident
        if incident is None:
            for one in (self._cookies, self._timestamps):
                one.story = one.story if one.held else ""
            return decision
        stories = (incident.note, self._cookies.story, self._timestamps.story)
        note = "; ".join(story for story in stories if story)
        return replace(decision, incident=replace(incident, note=note))

    def _tell(self, kind: str, utc: datetime, text: str) -> None:
        log.warning("%s", text, extra=event("cookies"))
        with ledger_failures_logged():
            self._record(utc, kind, text)


def cookies_for(config: Config, ledger: Ledger, kernel: Settings | None = None) -> SynCookies:
    """Return the counter measure as the mode has it: in this network namespace, or in dry-run."""
    settings, directories = kernel or Sysctl(), note_directories(config)

    def kept(name: str) -> SysctlNoteFile:
        return SysctlNoteFile(directories, name)

    if config.mode is Mode.ENFORCE:
        return SynCookies(settings, kept, ledger.record_action, config)
    for name in (SYN_COOKIES, TCP_TIMESTAMPS):
        if kept(name).read():
            text = "%s is still as an agent that enforced has set it; synguard flush puts the old value back"
            log.warning(text, name, extra=event("cookies"))
    return SynCookies(DryRunSysctl(settings), lambda name: SysctlNoteFile((), name), ledger.record_action, config)
