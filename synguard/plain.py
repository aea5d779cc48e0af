"""Text that others had a hand in, made fit to be printed, logged or sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["clipped", "count", "listed", "printable", "some"]


def printable(text: str) -> str:
    """Return the text on one line with control characters escaped: names of processes and files come from others.

    A terminal would obey ``ESC ]`` and its like; a line break becomes the two characters backslash and n.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def clipped(text: str, at_most: int) -> str:
    """Return the text in no more than ``at_most`` characters, the last of them ``…`` where something is missing."""
    return text if len(text) <= at_most else f"{text[: at_most - 1]}…" if at_most > 0 else ""


def listed(words: Sequence[str], at_most: int, between: str = ", ") -> str:
    """Return the first of some words and how many more there are: ``a, b, c and 4 more``."""
    more = len(words) - at_most
    return between.join(words[:at_most]) + (f" and {more:,} more" if more > 0 else "")


def some(lines: Iterable[str], at_most: int, more: str = "more") -> list[str]:
    """Return the first lines, and one that says how many ``more`` there are."""
    every = list(lines)
    rest = len(every) - at_most
    return [*every[:at_most], f"and {rest:,} {more}"] if rest > 0 else every


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 ban``, ``2,000 bans``."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
