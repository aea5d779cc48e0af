"""Writes into pages what their commands really say: ``python -m tests.support.refresh_pages PAGE…`` (root).

Every line of a page is typed in order on a throw-away host under the page's flood, and the output that the page shows
is replaced by what was said. Where the page has a ``…`` line, as many lines are kept before and after it as there are.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.lab.namespaces import why_unavailable
from tests.support.page_player import Stage, Typed, wrong
from tests.support.page_steps import ELISION, read_page


def refreshed(text: str, played: list[Typed]) -> str:
    """Return a page's text with the outputs that it shows replaced by what was said."""
    for typed in reversed(played):
        if typed.line.shown is not None and typed.ran is not None:
            start, end = typed.line.span
            text = text[:start] + abridged(typed.ran.output, typed.line.shown) + text[end:]
    return text


def abridged(said: str, shown: str) -> str:
    """Return an output cut as it was cut when the page last showed it."""
    lines, before = [line.rstrip() for line in said.rstrip().splitlines()], shown.splitlines()
    if ELISION in before:
        head = before.index(ELISION)
        tail = len(before) - head - 1
        if head + tail < len(lines):
            lines = [*lines[:head], ELISION, *lines[len(lines) - tail :]]
    return "".join(f"{line}\n" for line in lines)


def main() -> int:
    """Refresh the pages named; return the exit code."""
    if trouble := why_unavailable():
        print(f"Pages cannot be played here: {trouble}.", file=sys.stderr)
        return 4
    failed = 0
    for name in sys.argv[1:]:
        page = read_page(Path(name).resolve())
        with Stage(page.scene.cookies) as stage:
            played = stage.play(page)
        for trouble in filter(None, map(wrong, played)):
            print(f"{name}: {trouble}", file=sys.stderr)
            failed = 1
        page.path.write_text(refreshed(page.path.read_text(encoding="utf-8"), played), encoding="utf-8")
    return failed


if __name__ == "__main__":
    sys.exit(main())
