"""TOML files and where policy packs lie."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from synguard.errors import ConfigError
from synguard.plain import printable
from synguard.private import why_untrusted

LARGEST: Final = 1024 * 1024
"""Bytes; a config beyond this is a mistake, such as the wrong file."""

_AT: Final = re.compile(r"^(?P<what>.*) \(at (?P<where>line \d+, column \d+|end of document)\)$", re.DOTALL)

_TWICE: Final = re.compile(r"^Cannot declare \((.*)\) twice$")
_NAME: Final = re.compile(r"'([^']*)'")


def read_toml(path: Path) -> dict[str, Any]:
    """Return the document in a TOML file.

    Raises:
        ConfigError: It cannot be read, is no regular file, too large, not UTF-8, or not TOML; says line and column.
    """
    text = _read_text(path)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _AT.match(str(error))
        where, what = (match["where"], match["what"]) if match else ("", str(error))
        what = _TWICE.sub(
            lambda found: f"[{'.'.join(_NAME.findall(found[1]))}] stands twice: put its keys under one", what
        )
        raise ConfigError(f"{path}: {where + ': ' if where else ''}{printable(what[:1].lower() + what[1:])}") from error
    except ValueError as error:  # an integer of more than 4300 digits
        raise ConfigError(f"{path}: a number has too many digits") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: lists or tables are nested too deeply") from error


def _read_text(path: Path) -> str:
    data = _read_bytes(path)
    try:
        return data.decode("utf-8-sig")  # some editors begin UTF-8 with a byte order mark
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}: line {line}: not UTF-8 text; save the file as UTF-8") from error


def _read_bytes(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a named pipe would wait for a writer that may never come
            raise ConfigError(f"{path}: not a regular file")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except PermissionError as error:
        raise ConfigError(f"{path}: not permitted to read it; run as root, or see its mode") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > LARGEST:
        raise ConfigError(f"{path}: larger than 1 MiB; is this the right file?")
    return data


def refuse_untrusted(path: Path) -> None:
    """Return if no one but root decides what a file that root goes by says; other users' own files are theirs to trust.

    Raises:
        ConfigError: Another user owns the file, may write to it, or could replace it.
    """
    if os.geteuid() != 0:
        return
    try:
        why = why_untrusted(path)
    except (OSError, ValueError):  # reading it tells what is wrong
        return
    if why:
        raise ConfigError(
            f"{path}: not safe for root to go by: {why}; give it to root and take the right to write from others, "
            f"`chown root: FILE; chmod go-w FILE`, or move it to such a place"
        )


def packs_directory() -> Path:
    """Return where the packs that come with synguard lie: in the package, or beside it in a source checkout."""
    package = Path(str(files("synguard")))
    shipped = package / "rules"
    return shipped if shipped.is_dir() else package.parent / "rules"


def pack_names() -> tuple[str, ...]:
    """Return the names of the packs that come with synguard, sorted."""
    return tuple(sorted(path.stem for path in packs_directory().glob("*.toml")))


def locate(entry: str, base: Path | None) -> Path:
    """Return the file of one entry of ``policies``: a pack's name, or a path, relative to ``base``.

    What holds a slash or ends in ``.toml`` is a path. Whether the file is there shows when it is read.

    Raises:
        ConfigError: No pack has this name; the text lists those there are.
    """
    if "/" in entry or entry.endswith(".toml"):
        return (base or Path()) / entry
    names = pack_names()
    if entry in names:
        return packs_directory() / f"{entry}.toml"
    near = get_close_matches(entry, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(
        f'no pack is called "{printable(entry[:60])}"; {hint}There are: {", ".join(names)}; a path ends in .toml'
    )
