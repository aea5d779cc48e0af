"""The ``ipset`` tool: one process per batch, its own words in every error."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Generator, Iterable, Sequence
from typing import IO, Final

from synguard.enforcer.held_bans import HeldBans
from synguard.enforcer.iptables.set_members import SavedSets, parse_in_pieces, parse_save
from synguard.enforcer.names import SET_NAMES, SET_PREFIX
from synguard.enforcer.script import run_script, whole
from synguard.errors import NotPermittedError, PlaneError, PlaneUnavailableError
from synguard.memory import many_objects
from synguard.programs import find_tool, tool_environment

TIMEOUT_S: Final = 30.0
"""For one process; a full set of 131,072 members is written in about a second."""

CEILING: Final = "ceilings.members"
"""The configuration's key of how many members a set may hold."""

_LINE: Final = re.compile(r".+")
_PREFIX: Final = re.compile(r"^ipset v[\d.]+: (?:Error in line (\d+): )?", re.MULTILINE)


class IpsetFailedError(Exception):
    """The tool ended with an error: ``detail`` is what it said, ``line`` the input line it spoke of, or 0."""

    def __init__(self, detail: str, line: int) -> None:
        super().__init__(detail)
        self.detail = detail
        self.line = line


def check() -> None:
    """Return if tool and kernel can work with sets here.

    Raises:
        PlaneUnavailableError: The tool is missing, or the kernel has no ipset.
        NotPermittedError: The kernel refuses this process.
    """
    try:
        _run(["list", "-n"])
    except IpsetFailedError as error:
        raise PlaneUnavailableError(
            "asking the kernel for its ipsets", f"{error.detail}; or set plane = nftables"
        ) from error


def save(most: int | None = None) -> SavedSets:
    """Return what our sets hold, which are meant for ``most`` members."""
    text = saved_text()
    with many_objects():
        return parse_save(text.splitlines(), most)


def saved_text() -> str:
    """Return what ``ipset save`` prints of our sets; one process where all of the frame's are there, two otherwise."""
    text = _save(list(SET_NAMES))
    if text is None:
        text = _save([name for name in names() if name in SET_NAMES])
    if text is None:
        raise PlaneError("reading our ipsets", "they kept vanishing while we looked; is another program removing them?")
    return text


def save_in_pieces(most: int | None = None) -> Generator[None, None, SavedSets]:
    """Return the same as ``save``, a piece at a time: the tool is not waited for, its words are taken apart by and by.

    Its bans are in columns. Where one of the frame's sets is missing it is read at once: that has to be mended.
    """
    try:
        words = yield from _words_of(["restore"], [f"save {name}" for name in SET_NAMES])
    except IpsetFailedError as error:
        if "does not exist" in error.detail:
            return save(most)
        raise PlaneError("reading our ipsets", error.detail) from error
    lines = (found[0] for found in _LINE.finditer(words))
    return (yield from parse_in_pieces(lines, SavedSets(bans=HeldBans(), most=most)))


def names() -> list[str]:
    """Return the names of all our sets, those of other releases included."""
    try:
        listed = _run(["list", "-n"])
    except IpsetFailedError as error:
        raise PlaneError("listing ipsets", error.detail) from error
    return [name for name in listed.splitlines() if name.startswith(SET_PREFIX)]


def restore(lines: Iterable[str]) -> None:
    """Apply the lines in one process; what is there already is updated, what is gone already is no error.

    Raises:
        PlaneError: A line was refused; the lines before it are applied, those after it are not.
    """
    batch = list(lines)
    if not batch:
        return
    try:
        _run(["restore", "-exist"], batch)
    except IpsetFailedError as error:
        refused = batch[error.line - 1] if 0 < error.line <= len(batch) else ""
        raise PlaneError(f'filling ipsets at "{refused}"', _explained(error.detail, refused)) from error


def destroy(name: str) -> str | None:
    """Remove one set; return why it could not be, or None."""
    try:
        _run(["destroy", name])
    except IpsetFailedError as error:
        return None if "does not exist" in error.detail else error.detail
    return None


def _save(wanted: Sequence[str]) -> str | None:
    if not wanted:
        return ""
    try:
        return _run(["restore"], [f"save {name}" for name in wanted])
    except IpsetFailedError as error:
        if "does not exist" in error.detail:
            return None
        raise PlaneError("reading our ipsets", error.detail) from error


def _explained(detail: str, refused: str) -> str:
    if "is full" in detail:
        name = refused.split(" ")[1] if " " in refused else "a set"
        return f"{detail}; {name} holds its ceiling of members: ban wider prefixes, remove bans, or raise {CEILING}"
    return detail


def _words_of(arguments: Sequence[str], lines: Sequence[str]) -> Generator[None, None, str]:
    """Return what the tool prints, pausing as long as it is at work; whoever gives up in between ends it."""
    tool = _tool()
    until = time.monotonic() + TIMEOUT_S
    with whole(lines) as script, _in_memory() as said, _in_memory() as complaints:
        try:
            process = subprocess.Popen(  # noqa: S603 - a fixed tool, arguments of ours, no shell
                [tool, *arguments], stdin=script, stdout=said, stderr=complaints, env=tool_environment()
            )
        except OSError as error:
            raise PlaneError(f"running {tool}", error.strerror or str(error)) from error
        try:
            while process.poll() is None:
                if time.monotonic() > until:
                    raise PlaneError(f"running ipset {arguments[0]}", f"it did not end within {TIMEOUT_S:g} s")
                yield
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            raise _failure(_read(complaints).strip() or f"exit code {process.returncode}")
        return _read(said)


def _in_memory() -> IO[bytes]:
    try:
        return open(os.memfd_create("synguard"), "w+b")
    except OSError as error:
        raise PlaneError("reading our ipsets", error.strerror or str(error)) from error


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _tool() -> str:
    tool = find_tool("ipset")
    if tool is None:
        raise PlaneUnavailableError(
            "looking for ipset", "it is not installed: install the package ipset, or set plane = nftables"
        )
    return tool


def _run(arguments: Sequence[str], lines: Sequence[str] = ()) -> str:
    done = run_script([_tool(), *arguments], lines, TIMEOUT_S, f"running ipset {arguments[0]}")
    if done.returncode != 0:
        raise _failure(done.stderr.strip() or f"exit code {done.returncode}")
    return done.stdout


def _failure(words: str) -> Exception:
    match = _PREFIX.search(words)
    detail = _PREFIX.sub("", words).replace("\n", "; ")
    if "Operation not permitted" in detail:
        return NotPermittedError(
            f"The kernel does not let this process change ipsets ({detail}): it needs CAP_NET_ADMIN."
        )
    return IpsetFailedError(detail, int(match[1] or 0) if match else 0)
