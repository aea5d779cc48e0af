"""Text for cells: figures, bars, and characters that take exactly one place on any terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Final

from synguard.output.tables import printable
from synguard.units import format_duration

_BAR: Final = 10
_PLAIN: Final[Mapping[int, str]] = str.maketrans(
    {
        "█": "#",
        "▇": "%",
        "▆": "*",
        "▅": "+",
        "▄": "=",
        "▃": "-",
        "▂": ".",
        "▁": "_",
        "·": " ",
        "░": ".",
        "…": "~",
        "±": "~",
        "↓": "v",
        "↑": "^",
        "─": "-",
    }
)


def bar(share: float) -> str:
    """Return a share as ten blocks; past 1 it is full, and what is not nothing shows."""
    filled = min(max(round(share * _BAR), 1 if share > 0 else 0), _BAR)
    return "█" * filled + "░" * (_BAR - filled)


def figure(value: float | None) -> str:
    """Return a count or rate in at most six places: ``-``, ``87``, ``9,870``, ``98.7k``, ``12.3M``."""
    if value is None:
        return "-"
    if value < 9999.5:
        return f"{value:,.0f}"
    for unit in ("k", "M", "G", "T"):
        value /= 1000
        if value < 999.5:
            return f"{value:.1f}{unit}" if value < 99.95 else f"{value:.0f}{unit}"
    return f"{value:.1g}P"


def short_left(seconds: float) -> str:
    """Return the time left in whole seconds, ``never`` for no end."""
    return "never" if seconds == float("inf") else format_duration(float(int(seconds)))


def narrow(text: str) -> str:
    """Return text in which every character takes one place: others, and all that a terminal would obey, are escaped."""
    return "".join(
        char if _takes_one(char) else char.encode("unicode_escape").decode("ascii") for char in printable(text)
    )


def plain(text: str) -> str:
    """Return the text for a terminal that knows ASCII only."""
    return text.translate(_PLAIN).encode("ascii", "backslashreplace").decode("ascii")


def _takes_one(char: str) -> bool:
    return char.isascii() or (
        unicodedata.east_asian_width(char) not in "WF" and not unicodedata.combining(char) and char.isprintable()
    )
