"""A report's file: written whole or not at all, and never over anything but a report."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from synguard.errors import NotPermittedError, RefusedError, SynguardError
from synguard.report.account_json import GENERATOR

_HEAD: Final = 600
"""Bytes in which a report says that it is one."""


def write_report(path: Path, text: str, *, force: bool = False) -> None:
    """Write a report, in place of an earlier one if there is one; what is no file (a pipe, a terminal) is written to.

    Raises:
        RefusedError: Something else stands there, and no one insisted.
        NotPermittedError: It may not be written there.
        SynguardError: It cannot be written.
    """
    try:
        if path.is_dir():
            raise RefusedError(f"{path} is a directory: name a file in it, like {path / 'report.html'}")
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
            return
        if not force and path.exists() and not _is_report(path):
            raise RefusedError(f"{path} is there already and is no report: name another file, or add --force")
        _replace(path.resolve(), text)
    except PermissionError as error:
        raise NotPermittedError(f"{path} may not be written: name a file in a directory of your own") from error
    except OSError as error:
        raise SynguardError(f"{path} cannot be written: {error.strerror or error}") from error


def _is_report(path: Path) -> bool:
    """Return whether a file is an earlier report; an empty file is as good as none."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return not head.strip() or GENERATOR.encode() in head


def _replace(path: Path, text: str) -> None:
    """Put a new file in the place of the old one in one step, with its mode, or the mode of any new file."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), _mode(path))
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _mode(path: Path) -> int:
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
