"""Tables for terminals and pipes: plain columns, 80 columns safe, addresses never broken."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from textwrap import fill
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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    at_most = width or terminal_width()
    cells = [[printable(cell) for cell in row] for row in rows]
    kept = _fitting(columns, cells, at_most)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for index in kept:
        column = columns[index]
        widest = 0 if column.fold else _widest(column, [row[index] for row in cells])
        table.add_column(column.title, justify=column.align, no_wrap=not column.fold, min_width=widest, overflow="fold")
    for row in cells:
        table.add_row(*(Text(row[index]) for index in kept))
    console = Console(width=at_most, highlight=False, soft_wrap=False, file=sys.stdout)
    with console.capture() as capture:
        console.print(table)
    print("\n".join(line.rstrip() for line in capture.get().rstrip("\n").splitlines()))
    left_out = [column.title for index, column in enumerate(columns) if index not in kept]
    if left_out:
        print(fill(f"not shown in {at_most} columns: {', '.join(left_out)}; all with | less -S", at_most))


def terminal_width() -> int:
    """Return the terminal's width, or ``PIPE_WIDTH`` where stdout is none."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH


def _widest(column: Column, cells: Sequence[str]) -> int:
    return max((len(text) for text in (column.title, *cells)), default=0)


def _fitting(columns: Sequence[Column], cells: Sequence[Sequence[str]], at_most: int) -> list[int]:
    """Return the indices of the columns to show, in order."""
    kept = list(range(len(columns)))
    widths = [
        min(_widest(column, [row[index] for row in cells]), 16 if column.fold else PIPE_WIDTH)
        for index, column in enumerate(columns)
    ]
    while sum(widths[index] + _GAP for index in kept) - _GAP > at_most:
        least = max(kept, key=lambda index: columns[index].spare)
        if columns[least].spare == 0:
            break
        kept.remove(least)
    return kept
