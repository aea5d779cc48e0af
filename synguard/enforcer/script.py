"""Tools that are fed a script: whole, or not at all."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from synguard.errors import PlaneError
from synguard.programs import run_tool


def run_script(
    command: Sequence[str], lines: Sequence[str], timeout_s: float, doing: str
) -> subprocess.CompletedProcess[str]:
    """Return how a tool ended that was given these lines, and what it printed.

    Raises:
        PlaneError: It could not be run to its end; ``doing`` says what for.
    """
    try:
        with whole(lines) as script:
            return run_tool(command, timeout_s, script)
    except subprocess.TimeoutExpired as error:
        raise PlaneError(doing, f"it did not end within {timeout_s:g} s") from error
    except OSError as error:
        raise PlaneError(f"running {command[0]}", error.strerror or str(error)) from error


@contextmanager
def whole(lines: Iterable[str]) -> Iterator[int]:
    """Give a descriptor that reads these lines from the first to the last; nothing for no lines.

    A pipe would be filled while the tool reads it. Should we be killed meanwhile, the tool sees an end amid a line and
    carries out what it has: ``add synguard-all-drop-4 20.1.2.34 timeout 60 …`` cut short is a ban of 20.1.2.3, without
    an end, and without the comment by which anybody could know it as ours.

    Raises:
        PlaneError: There is no memory for it.
    """
    try:
        descriptor = _written(lines)
    except OSError as error:
        raise PlaneError("preparing a script", error.strerror or str(error)) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _written(lines: Iterable[str]) -> int:
    descriptor = os.memfd_create("synguard")
    try:
        with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
            file.writelines(f"{line}\n" for line in lines)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
