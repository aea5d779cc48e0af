"""What is reported: one message, what it is about, and the figures that programs read of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from synguard.plain import clipped, printable

LONGEST_LINE: Final = 280
"""Characters; a longer one is cut. Some services cut a whole message at 1,024."""
MOST_LINES: Final = 12


class About(StrEnum):
    """What a message is about; the first four tell one attack, the others what an operator must know of once."""

    START = "start"
    GROWN = "grown"
    """An attack has become ten times as large as was reported, or has come to other ports."""
    DIGEST = "digest"
    END = "end"
    SUSPENDED = "suspended"
    """It is not known whom to protect, so there are no automatic bans."""
    BUDGET = "budget"
    """A bound of ``[budget]`` forbids further bans."""
    PLANE = "plane"
    """The kernel does not hold the bans that are wanted."""
    REPAIRS = "repairs"
    """Another tool takes our rules away again and again."""
    LEAK = "leak"
    """Somebody is banned but still arrives."""
    UNHEALTHY = "unhealthy"
    """The agent has not been healthy for a while."""
    PEER = "peer"
    """A peer of the fleet has not answered for a while."""
    COOKIES = "cookies"
    """SYN cookies were turned on for an attack."""
    OVER = "over"
    """One of these states is over."""
    REPORT = "report"
    """The report of a day, as ``synguard report --send`` sends it."""
    TEST = "test"


@dataclass(frozen=True, slots=True)
class AttackFigures:
    """The attack that a message is about; incidents that follow one another closely are one attack."""

    id: str
    """Of its first incident, as ``synguard report`` names it."""
    kind: str
    started_at: datetime
    ended_at: datetime | None
    incidents: int
    bans: int
    spared: int
    peak_half_open: int
    peak_syn_pps: float
    ports: tuple[str, ...]
    """Like ``80 (nginx)``."""
    dry_run: bool
    restarts: int = 0
    """How often the agent was restarted meanwhile."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: a title, a few lines, and the same as figures."""

    about: About
    at: datetime
    title: str
    lines: tuple[str, ...]
    attack: AttackFigures | None = None
    states: tuple[tuple[About, str], ...] = ()
    """What else is so: each with its sentence."""

    @property
    def text(self) -> str:
        """All lines but the title."""
        return "\n".join(self.lines)

    def and_also(self, line: str) -> Message:
        """Return the message with one more line at its end."""
        return replace(self, lines=(*self.lines[: MOST_LINES - 1], line))


def made(
    about: About,
    at: datetime,
    title: str,
    lines: list[str],
    attack: AttackFigures | None = None,
    states: tuple[tuple[About, str], ...] = (),
) -> Message:
    """Return a message whose every line is short and holds no control characters."""
    short = tuple(_short(line) for line in lines if line)[:MOST_LINES]
    return Message(about, at, _short(title), short, attack, tuple((key, _short(text)) for key, text in states))


def _short(line: str) -> str:
    return clipped(printable(line), LONGEST_LINE)
