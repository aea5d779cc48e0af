"""Asking a person: only at a terminal, and never taking silence for a yes."""

from __future__ import annotations

import sys
from typing import Final

import typer

from synguard.errors import UsageError

_ENDS: Final = ("\x03", "\x04")
"""Ctrl-C and Ctrl-D, where a terminal hands them on as characters."""


def can_prompt() -> bool:
    """Return whether a person can answer: stdin is a terminal."""
    return sys.stdin.isatty()


def is_interactive() -> bool:
    """Return whether a person can look and answer: stdout is a terminal too."""
    return can_prompt() and sys.stdout.isatty()


def confirmed(question: str, *, yes: bool, doing: str) -> None:
    """Return if a person says yes, or has said ``--yes``.

    Raises:
        UsageError: No one can be asked; ``doing`` names what wants ``--yes`` then.
        typer.Abort: The person says no.
    """
    if yes:
        return
    if not can_prompt():
        raise UsageError(f"{doing} asks first, and there is no terminal to ask on: add --yes")
    typer.confirm(question, abort=True, err=True)


def one_key(allowed: str, default: str) -> str:
    """Return the key that a person presses, one of ``allowed``; Enter is ``default``.

    Raises:
        KeyboardInterrupt: Ctrl-C or Ctrl-D.
    """
    while True:
        try:
            key = typer.getchar()
        except EOFError as error:
            raise KeyboardInterrupt from error
        if key in _ENDS or not key:
            raise KeyboardInterrupt
        if key in ("\r", "\n"):
            return default
        if key.lower() in allowed:
            return key.lower()
