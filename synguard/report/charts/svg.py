"""SVG elements as text, every attribute and word escaped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from synguard.output.tables import printable

_PLACES: Final = 1
"""Tenths of a unit: finer than any screen."""


def tag(name: str, *children: str, **attributes: str | float) -> str:
    """Return one element; ``children`` are elements or escaped text, ``_`` in attribute names is written ``-``.

    ``class_`` is ``class``. Attributes of others' words are safe whatever they hold.
    """
    words = "".join(
        f" {key.removesuffix('_').replace('_', '-')}={quoteattr(_value(value))}" for key, value in attributes.items()
    )
    inner = "".join(children)
    return f"<{name}{words}>{inner}</{name}>" if inner else f"<{name}{words}/>"


def text(words: str, **attributes: str | float) -> str:
    """Return a text element."""
    return tag("text", escaped(words), **attributes)


def escaped(words: str) -> str:
    """Return words that mark up nothing; control characters are written out."""
    return escape(printable(words))


def number(value: float) -> str:
    """Return a coordinate as short as it can be."""
    return f"{value:.{_PLACES}f}".rstrip("0").rstrip(".") if value else "0"


def path(commands: Iterable[tuple[str, float] | tuple[str, float, float]]) -> str:
    """Return path data of (letter, coordinates)."""
    return "".join(letter + " ".join(number(one) for one in at) for letter, *at in commands)


def _value(value: str | float) -> str:
    return printable(value) if isinstance(value, str) else number(value)
