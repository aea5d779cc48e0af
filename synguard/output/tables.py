"""Tables for terminals and pipes: plain columns, 80 columns safe, addresses never broken."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from textwrap import fill, wrap
from typing import Any, Final, Literal

from synguard.plain import printable as printable  # for those who print tables

PIPE_WIDTH: Final = 100_000
"""What stands for "no edge": in a pipe every row is one line, for grep and awk."""

_GAP: Final = 2
_AT_ONCE: Final = 1_000
"""Objects of a list that are written together."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    title: str
    align: Literal["left", "right"] = "left"
    spare: int = 0
    """Columns with the highest number are left out first where the terminal is narrow; 0 always stays."""
    fold: bool = False
    """Whether its text may be broken into lines, as a sentence may and an address may not."""


def print_lines(lines: Iterable[str]) -> None:
    """Print lines that may hold words of others."""
    for line in lines:
        print(printable(line))


def print_json(value: Any) -> None:
    """Print a value as JSON, indented for people when a person looks."""
    print(json.dumps(value, indent=2 if sys.stdout.isatty() else None, ensure_ascii=True))


def print_json_list(objects: Iterable[str]) -> None:
    """Print JSON texts as one list, some at a time, so that a long one needs no memory for the whole of it."""
    rest = iter(objects)
    before = "["
    while some := ", ".join(islice(rest, _AT_ONCE)):
        sys.stdout.write(f"{before}{some}")
        before = ", "
    print("]" if before == ", " else "[]")


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None = None) -> None:
    """Print rows under titles; a terminal too narrow for all columns goes without the least needed ones, and says so.

    ``width`` is the terminal's, or without an edge in a pipe.
    """
    at_most = width or terminal_width()
    left_out, titles, *lines = _laid_out(columns, rows, at_most)
    print("\n".join([f"\x1b[1m{titles}\x1b[0m" if sys.stdout.isatty() else titles, *lines]))
    if left_out:
        print(fill(f"not shown in {at_most} columns: {left_out}; all with | less -S", at_most))


def table_lines(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Return titles and rows as aligned lines; where they are too wide, the least needed columns are left out."""
    return islice(_laid_out(columns, rows, width), 1, None)


def terminal_width() -> int:
    """Return the terminal's width, or ``PIPE_WIDTH`` where stdout is none."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH


def _laid_out(columns: Sequence[Column], rows: Sequence[Sequence[str]], at_most: int) -> Iterator[str]:
    """Yield the titles of columns that are left out, the titles of the others, and the lines of the rows."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = {at: max(len(column.title), *(len(row[at]) for row in cells), 0) for at, column in enumerate(columns)}

    def taken() -> int:
        """Return what the columns take at the least; a sentence wants 16."""
        least = (min(width, 16) if columns[at].fold else width for at, width in widths.items())
        return sum(least) + _GAP * (len(widths) - 1)

    while taken() > at_most and columns[least := max(widths, key=lambda at: columns[at].spare)].spare:
        del widths[least]
    yield ", ".join(column.title for at, column in enumerate(columns) if at not in widths)
    folds = [at for at in sorted(widths, key=widths.__getitem__) if columns[at].fold]
    for number, at in enumerate(folds):
        room = at_most - sum(width for other, width in widths.items() if other not in folds[number:])
        share = (room - _GAP * (len(widths) - 1)) // (len(folds) - number)
        widths[at] = min(widths[at], max(share, 1))
    for row in ([column.title for column in columns], *cells):
        broken = [wrap(row[at], width) or [""] if len(row[at]) > width else [row[at]] for at, width in widths.items()]
        for parts in zip_longest(*broken, fillvalue=""):
            aligned = (
                part.rjust(widths[at]) if columns[at].align == "right" else part.ljust(widths[at])
                for at, part in zip(widths, parts, strict=True)
            )
            yield (" " * _GAP).join(aligned).rstrip()
