"""Progress of long work on stderr, at a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

Step = Callable[[str], None]
"""Told what is done next."""

LONG: Final = 5_000
"""Targets from which work takes long enough to be shown."""


@contextmanager
def steps(count: int, targets: int) -> Iterator[Step]:
    """Give a function that is told each of ``count`` steps as it begins; it draws a bar where a person waits."""
    if targets < LONG or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task("", total=count)
        begun = False

        def step(what: str) -> None:
            nonlocal begun
            bar.update(task, advance=int(begun), description=what, refresh=True)
            begun = True

        yield step
