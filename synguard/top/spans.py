"""Lines of styled text: what is shown, before any terminal is asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from synguard.plain import clipped
from synguard.top.text import narrow, plain


class Style(StrEnum):
    """What a piece of text is; how it looks is the terminal's business."""

    USUAL = "usual"
    FAINT = "faint"
    STRONG = "strong"
    GOOD = "good"
    WATCH = "watch"
    BAD = "bad"
    LOUD = "loud"
    """Must be seen, also without colour: reversed."""
    TITLE = "title"
    """Titles of columns."""
    FOCUS = "focus"
    """Titles of the table that the keys go to."""
    CHOSEN = "chosen"
    """The row that the keys go to."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of one line."""

    text: str
    style: Style = Style.USUAL


Line: TypeAlias = tuple[Span, ...]


def line(*parts: Span | str) -> Line:
    """Return parts as one line; plain text is in the usual style, and every character takes one place."""
    spans = (Span(part) if isinstance(part, str) else part for part in parts)
    return tuple(Span(narrow(span.text), span.style) for span in spans if span.text)


def fitted(spans: Iterable[Span], width: int) -> Line:
    """Return a line in at most ``width`` places, cut with ``…`` where there is more."""
    kept: list[Span] = []
    left = width
    for span in spans:
        if left <= 0:
            break
        kept.append(Span(clipped(span.text, left), span.style))
        left -= len(kept[-1].text)
    return tuple(kept)


def filled(spans: Line, width: int, style: Style) -> Line:
    """Return the line filled with blanks up to ``width``, all in one style."""
    text = clipped("".join(span.text for span in spans), width)
    return (Span(text.ljust(width), style),)


def as_text(spans: Iterable[Span]) -> str:
    """Return a line without its styles."""
    return "".join(span.text for span in spans).rstrip()


def in_ascii(spans: Line) -> Line:
    """Return the line for a terminal that knows ASCII only; every character still takes one place."""
    return tuple(Span(plain(span.text), span.style) for span in spans)
