"""Progress of long work on stderr, at a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

Step = Callable[[str], None]
"""Told what is done next."""

LONG: Final = 5_000
"""Targets from which work takes long enough to be shown."""


@contextmanager
def steps(count: int, targets: int) -> Iterator[Step]:
    """Give a function to call as each of ``count`` steps begins; it draws a bar where a person waits."""
    if targets < LONG or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

    with _bar(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()) as bar:
        task = bar.add_task("", total=count)
        begun = False

        def step(what: str) -> None:
            nonlocal begun
            bar.update(task, advance=int(begun), description=what, refresh=True)
            begun = True

        yield step


@contextmanager
def reading(what: str, size: int) -> Iterator[Callable[[int], object]]:
    """Give a function that is told how many of ``size`` bytes are read; it draws a bar where a person waits."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with _bar(*columns) as bar:
        task = bar.add_task(what, total=size)
        yield lambda done: bar.update(task, completed=done)


def _bar(*columns: ProgressColumn) -> Progress:
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(stderr=True), transient=True)
