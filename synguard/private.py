"""Files and directories that no one else may look into or change: made so, and used only where they are so.

A directory that others may write into could hold a link or a file that they planted; a file that belongs to somebody
else could change under us. Both are refused in a sentence rather than repaired: what they hold is for a person to see.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from synguard.errors import ConfigError, NotPermittedError, RefusedError, SynguardError
from synguard.readers import READABLE, is_shared

_FILE: Final = 0o600
_DIRECTORY: Final = 0o700
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OTHERS: Final = 0o077
_ROOT: Final = 0
_LINK: Final = "it is a symbolic link, which is not followed; remove it"
LARGEST_SECRET: Final = 64 * 1024
"""Bytes of a file that holds secrets."""


class NotOursError(OSError):
    """A file is there that is not ours alone; ``strerror`` says what is wrong with it."""

    def __init__(self, what: str) -> None:
        super().__init__(errno.EPERM, what)


def private_directory(directory: Path, name: str) -> None:
    """Make a directory that only its owner may look into, unless it is there; return if only we may change it.

    ``name`` is what the config calls it. Parents that are missing are made for everybody to look into.

    Raises:
        NotPermittedError: It may not be made or written, or is root's and we are not.
        RefusedError: Another user owns it, may write into it, or could replace it; it is left as it is.
        SynguardError: It cannot be made.
    """
    own = f"set {name} to a directory of your own"
    try:
        _make(directory)
        if why := why_untrusted(directory):
            raise RefusedError(f"{name} {directory} is not safe: {why}; look at what is in it, fix that, or {own}")
        if directory.stat().st_uid != os.geteuid():
            raise NotPermittedError(f"{name} {directory} belongs to root: run as root, or {own}")
        _probe(directory)
    except PermissionError as error:
        raise NotPermittedError(f"{name} {directory} may not be written: run as root, or {own}") from error
    except OSError as error:
        raise SynguardError(f"{name} {directory} cannot be used: {error.strerror}; fix that, or {own}") from error


def open_private(path: Path, flags: int, mode: int = _FILE, *, shared: bool = False) -> int:
    """Return a descriptor of a regular file that is ours alone; ``O_CREAT`` makes it ``mode``, whatever the umask.

    A mode that lets others read is set right, but for one that is ``shared``, which may be root's; no link is followed,
    and no pipe waited for.

    Raises:
        NotOursError: It is a link, no file, somebody else's, or has a second name.
        OSError: It cannot be opened.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotOursError(_LINK) from error
        raise
    try:
        found = os.fstat(descriptor)
        check_private(found, shared=shared)
        if not shared and stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def ensure_shared(path: Path, *, make: bool) -> None:
    """Set the mode of a file of ours that is for readers right, and ``make`` it where there is none; it is not opened.

    Where it is root's and we are not, it is for a reader to open.

    Whoever closes a descriptor of a file gives up every POSIX lock that its whole process holds on it: opening and
    closing a database that another thread has open would take that thread's locks away.

    Raises:
        NotOursError: As for ``open_private``.
        OSError: It cannot be made; ``FileNotFoundError`` where there is none and none is made.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        if not make:
            raise
        os.close(open_private(path, os.O_RDWR | os.O_CREAT, _shared_mode(path)))
        return
    if stat.S_ISLNK(found.st_mode):
        raise NotOursError(_LINK)
    check_private(found, shared=not make)
    mode = _shared_mode(path)
    if stat.S_IMODE(found.st_mode) != mode and found.st_uid == os.geteuid():
        path.chmod(mode)


def _shared_mode(path: Path) -> int:
    """Return the mode of a file for readers: as its directory says."""
    return READABLE if is_shared(path.parent) else _FILE


def check_private(found: os.stat_result, *, shared: bool = False) -> None:
    """Return if what was found is a regular file, ours, or root's where it is ``shared``, and has one name.

    Raises:
        NotOursError: It is not.
    """
    if not stat.S_ISREG(found.st_mode):
        raise NotOursError("it is no regular file; remove it")
    if found.st_uid != os.geteuid() and not (shared and found.st_uid == _ROOT):
        raise NotOursError(f"it belongs to {user(found.st_uid)}, not to {user(os.geteuid())}; look at it and remove it")
    if found.st_nlink > 1:
        raise NotOursError("it has a second name (a hard link) somewhere; look for it and remove this one")


def read_private(path: Path, at_most: int, *, shared: bool = False) -> str:
    """Return the text of a file that is ours alone; one that is ``shared`` may be root's.

    Raises:
        NotOursError: It is not, or is longer than ``at_most`` bytes.
        UnicodeDecodeError: It is no text.
        OSError: It cannot be read; ``FileNotFoundError`` where there is none.
    """
    with os.fdopen(open_private(path, os.O_RDONLY, shared=shared), "rb") as file:
        data = file.read(at_most + 1)
    if len(data) > at_most:
        raise NotOursError(f"it is larger than {at_most} bytes, which none of ours is")
    return data.decode("utf-8")


def read_secret(path: Path) -> str:
    """Return the text of a file that holds a secret; a mode that lets others read is refused, not set right.

    Raises:
        ConfigError: It cannot be used, or others may read it; nothing of what it holds is in the text.
    """
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_CLOEXEC)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ConfigError(f"{path}: not a regular file")
            if found.st_mode & _OTHERS:
                raise ConfigError(f"{path}: others may read it, and it holds secrets: chmod 600 {path}")
            data = file.read(LARGEST_SECRET + 1)
    except IsADirectoryError as error:
        raise ConfigError(f"{path}: not a regular file") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > LARGEST_SECRET:
        raise ConfigError(f"{path}: larger than {LARGEST_SECRET // 1024} KiB; is this the right file?")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text") from error


def replace_private(path: Path, text: str, *, sync: bool = False, alone: bool = False, shared: bool = False) -> None:
    """Write a file whole or not at all, with mode 0600; what was there is replaced, never followed or written into.

    One that is ``shared`` may be read by those who may pass through its directory. ``sync`` has it on disk when this
    returns. No one else writes it where the caller is ``alone``: drafts then have one name, so that killed processes
    leave one at most.

    Raises:
        OSError: The disk or the directory does not take it; the file is as it was.
    """
    draft = path.with_suffix(".new") if alone else path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)  # of a process of this number that was killed
        mode = _shared_mode(path) if shared else _FILE
        with os.fdopen(open_private(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
            file.write(text)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def why_untrusted(path: Path) -> str:
    """Return who but root and this user could change what a path leads to; empty if no one could.

    Every directory on the way is looked at, also behind symbolic links. One that all may write into but in which each
    may only replace what is his (``/tmp``) is safe to pass through.
    """
    trusted = {_ROOT, os.geteuid()}
    last = {Path(os.path.abspath(path)), Path(os.path.realpath(path))}
    for place in _way(path):
        found = os.lstat(place)
        if found.st_uid not in trusted:
            return f"{place} belongs to {user(found.st_uid)}"
        sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX and place not in last
        if not stat.S_ISLNK(found.st_mode) and not sticky and _others_write(found):
            return f"others may write to {place} (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""


def user(uid: int) -> str:
    """Return a user's name, or ``uid 4711`` where the number has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _others_write(found: os.stat_result) -> bool:
    others = found.st_mode & _OTHERS_WRITE
    return bool(others & stat.S_IWOTH) or (bool(others) and found.st_gid != _ROOT)


def _way(path: Path) -> Iterator[Path]:
    """Yield the places that decide where a path leads: as it is written, and behind its links."""
    seen: set[Path] = set()
    for end in (Path(os.path.abspath(path)), Path(os.path.realpath(path))):
        for place in (*reversed(end.parents), end):
            if place not in seen:
                seen.add(place)
                yield place


def _make(directory: Path) -> None:
    """Make a directory and its missing parents; a umask cannot open them to others."""
    missing: list[Path] = []
    place = directory
    while not os.path.lexists(place):
        missing.append(place)
        place = place.parent
    for place in reversed(missing):
        with suppress(FileExistsError):  # made by another process meanwhile
            os.mkdir(place, _DIRECTORY if place == directory else 0o755)
    if missing and directory.stat().st_uid == os.geteuid():
        directory.chmod(_DIRECTORY)


def _probe(directory: Path) -> None:
    """Raise OSError unless files can be made here."""
    probe = directory / f".writable.{os.getpid()}"
    with suppress(FileNotFoundError):
        probe.unlink()
    os.close(open_private(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    probe.unlink()
