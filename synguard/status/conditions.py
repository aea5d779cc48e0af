"""Conditions: the named states that an operator must know of, on one board.

A part of the agent says in a sentence what is wrong with it; the board asks for that sentence at each tick, gives it a
code, and logs when it begins, changes or ends. Whoever acts on a condition reads its code, never its text.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict

from synguard.logs import event

log: Final = logging.getLogger(__name__)

MOST: Final = 64
"""Conditions at one time; the rest is one condition, ``others``, with their number."""


class Severity(StrEnum):
    """How much a condition matters."""

    PROBLEM = "problem"
    """Protection suffers: the agent is not healthy."""
    NOTE = "note"
    """Something works less well, and protection does not suffer."""


class Code(StrEnum):
    """Each condition that there is, in the order in which they are shown."""

    AGENT_ABSENT = "agent-absent"
    AGENT_STALE = "agent-stale"
    PANIC = "panic"
    PROTECTED_UNKNOWN = "protected-unknown"
    PLANE_FAILED = "plane-failed"
    REPAIRS_DISPUTED = "repairs-disputed"
    BANS_NOT_IN_KERNEL = "bans-not-in-kernel"
    CAPACITY_FULL = "capacity-full"
    MODE_CHANGE_FAILED = "mode-change-failed"
    LEAK = "leak"
    SYN_COOKIES_FAILED = "syn-cookies-failed"
    LEDGER_FAILED = "ledger-failed"
    RELOAD_REFUSED = "reload-refused"
    BANS_REFUSED = "bans-refused"
    SENSOR_FAILED = "sensor-failed"
    SAMPLER_BLIND = "sampler-blind"
    CAPACITY_NEAR = "capacity-near"
    BANS_ON_THE_WAY = "bans-on-the-way"
    KERNEL_UNKNOWN = "kernel-unknown"
    CHALLENGES_OFF = "challenges-off"
    PROTECTED_GAP = "protected-gap"
    CONFIG_DRIFT = "config-drift"
    MESSAGES_FAILED = "messages-failed"
    METRICS_FAILED = "metrics-failed"
    FLEET_FAILED = "fleet-failed"
    STATUS_FILE_FAILED = "status-file-failed"
    OTHERS = "others"


@dataclass(frozen=True, slots=True)
class ConditionKind:
    """What all conditions of one code have in common."""

    severity: Severity
    event: str = ""
    """The event of its log lines; empty where the part that has it writes its own, which carry more."""
    over: str = ""
    """The log line when none of this code is left; empty for none."""
    changes: bool = True
    """Whether another text of the same subject is logged again; not where it holds a number that keeps changing."""


KINDS: Final[Mapping[Code, ConditionKind]] = {
    Code.AGENT_ABSENT: ConditionKind(Severity.PROBLEM),
    Code.AGENT_STALE: ConditionKind(Severity.PROBLEM),
    Code.PANIC: ConditionKind(Severity.PROBLEM, "mode"),
    Code.PROTECTED_UNKNOWN: ConditionKind(Severity.PROBLEM, "suspended"),
    Code.PLANE_FAILED: ConditionKind(Severity.PROBLEM, "plane"),
    Code.REPAIRS_DISPUTED: ConditionKind(Severity.PROBLEM, "repair"),
    Code.BANS_NOT_IN_KERNEL: ConditionKind(
        Severity.PROBLEM, "not-in-kernel", "the kernel holds every active ban again"
    ),
    Code.CAPACITY_FULL: ConditionKind(Severity.PROBLEM, "ceiling", "the kernel holds all bans again", changes=False),
    Code.MODE_CHANGE_FAILED: ConditionKind(Severity.PROBLEM, "mode"),
    Code.LEAK: ConditionKind(Severity.PROBLEM),
    Code.SYN_COOKIES_FAILED: ConditionKind(Severity.PROBLEM, "cookies"),
    Code.LEDGER_FAILED: ConditionKind(Severity.PROBLEM),
    Code.RELOAD_REFUSED: ConditionKind(Severity.PROBLEM),
    Code.BANS_REFUSED: ConditionKind(Severity.PROBLEM),
    Code.SENSOR_FAILED: ConditionKind(Severity.PROBLEM),
    Code.SAMPLER_BLIND: ConditionKind(
        Severity.PROBLEM, "sampler-blind", "sampled SYNs are what arrives again", changes=False
    ),
    Code.CAPACITY_NEAR: ConditionKind(Severity.NOTE, "ceiling", changes=False),
    Code.BANS_ON_THE_WAY: ConditionKind(Severity.NOTE, "plane", "the kernel holds every active ban", changes=False),
    Code.KERNEL_UNKNOWN: ConditionKind(Severity.NOTE, "not-in-kernel"),
    Code.CHALLENGES_OFF: ConditionKind(Severity.NOTE),
    Code.PROTECTED_GAP: ConditionKind(Severity.NOTE, "protected-gap"),
    Code.CONFIG_DRIFT: ConditionKind(Severity.NOTE),
    Code.MESSAGES_FAILED: ConditionKind(Severity.NOTE),
    Code.METRICS_FAILED: ConditionKind(Severity.NOTE),
    Code.FLEET_FAILED: ConditionKind(Severity.NOTE),
    Code.STATUS_FILE_FAILED: ConditionKind(Severity.NOTE, "status-file", "the status file is written again"),
    Code.OTHERS: ConditionKind(Severity.NOTE),
}
"""Code → how much it matters, and how it is logged; docs/metrics.md says what each is about."""

_RANK: Final = {code: rank for rank, code in enumerate(Code)}


class Condition(BaseModel):
    """One state that the operator must know of."""

    model_config = ConfigDict(frozen=True)

    code: Code
    severity: Severity
    subject: str = ""
    """Which sensor, ban or service; empty where there is only one."""
    text: str
    """One sentence for people: nothing in synguard reads it."""
    since: datetime
    fix: str = ""
    """The command that mends it, where there is one."""


Answer = str | Iterable[str] | Mapping[str, str]
"""One text, texts, or subject → text; empty texts are left out."""


class Conditions:
    """The board: what holds now, kept up by ``refresh``."""

    def __init__(self, utcnow: Callable[[], datetime]) -> None:
        self._utcnow = utcnow
        self._asked: list[tuple[Code, Callable[[], Answer], str]] = []
        self._standing: dict[tuple[Code, str], Condition] = {}

    def ask(self, code: Code, answer: Callable[[], Answer], *, fix: str = "") -> None:
        """Ask for the texts of ``code`` at each refresh; several parts may answer for one code.

        ``answer`` must neither wait nor raise.
        """
        self._asked.append((code, answer, fix))

    def refresh(self) -> None:
        """Ask all parts; log what began, what changed and what ended since the last time."""
        seen: dict[tuple[Code, str], tuple[str, str]] = {}
        for asked, (code, answer, fix) in enumerate(self._asked):
            for subject, text in _by_subject(answer()):
                key = (code, subject) if (code, subject) not in seen else (code, f"{subject} {asked}")
                seen[key] = text, fix
        if not seen and not self._standing:
            return
        standing: dict[tuple[Code, str], Condition] = {}
        for key, (text, fix) in sorted(seen.items(), key=lambda item: _RANK[item[0][0]])[:MOST]:
            before = self._standing.get(key)
            if before is not None and (before.text, before.fix) == (text, fix):
                standing[key] = before
                continue
            if before is None or before.text != text:
                self._log(key[0], text, begins=before is None)
            standing[key] = condition(key[0], text, before.since if before else self._utcnow(), fix, key[1])
        if len(seen) > MOST:
            key = (Code.OTHERS, "")
            since = self._standing[key].since if key in self._standing else self._utcnow()
            standing[key] = condition(Code.OTHERS, f"{len(seen) - MOST} more conditions hold", since)
        ended = {code for code, _ in self._standing} - {code for code, _ in standing}
        self._standing = standing
        for code in sorted(ended, key=_RANK.__getitem__):
            if KINDS[code].over:
                log.warning("%s", KINDS[code].over, extra=event(KINDS[code].event))

    @property
    def all(self) -> tuple[Condition, ...]:
        """What holds, in the order of the codes."""
        return tuple(self._standing.values())

    @staticmethod
    def _log(code: Code, text: str, *, begins: bool) -> None:
        kind = KINDS[code]
        if kind.event and (begins or kind.changes):
            level = logging.ERROR if kind.severity is Severity.PROBLEM else logging.WARNING
            log.log(level, "%s", text, extra=event(kind.event))


def texts(conditions: Iterable[Condition], severity: Severity) -> tuple[str, ...]:
    """Return the sentences of one severity, for people."""
    return tuple(one.text for one in conditions if one.severity is severity)


def text_of(conditions: Iterable[Condition], code: Code) -> str:
    """Return the sentence of the first condition with this code, for people; empty where none holds."""
    return next((one.text for one in conditions if one.code is code), "")


def _by_subject(answer: Answer) -> Iterable[tuple[str, str]]:
    if isinstance(answer, str):
        return (("", answer),) if answer else ()
    if isinstance(answer, Mapping):
        return ((subject, text) for subject, text in answer.items() if text)
    return ((str(number) if number else "", text) for number, text in enumerate(filter(None, answer)))


def condition(code: Code, text: str, since: datetime, fix: str = "", subject: str = "") -> Condition:
    """Return a condition with the severity of its code."""
    return Condition(code=code, severity=KINDS[code].severity, subject=subject, text=text, since=since, fix=fix)
