"""BGP speakers on this host: ExaBGP through its named pipes, GoBGP through its command."""

from __future__ import annotations

import errno
import os
import select
import stat
import subprocess
import time
from pathlib import Path
from typing import Final, Protocol

from synguard.errors import FleetError
from synguard.fleet.routes import Route, exabgp_command, gobgp_arguments
from synguard.plain import clipped, printable
from synguard.programs import find_tool, run_tool

ANSWER_S: Final = 3.0
"""How long a speaker may take for one answer."""
MOST_BYTES: Final = 64 * 1024
"""Bytes of one answer that are read."""


class Speaker(Protocol):
    """What takes routes."""

    def say(self, route: Route, *, announce: bool) -> None:
        """Announce or withdraw a route; saying the same twice is harmless.

        Raises:
            FleetError: The speaker is away, or refuses.
        """

    def close(self) -> None:
        """Free what it holds."""


class ExaBgp:
    """ExaBGP's named pipes, ``exabgp.in`` and ``exabgp.out`` beside it; each command's answer is read.

    An answer that is not read stays in the pipe until it is full and ExaBGP blocks.
    """

    def __init__(self, pipe: Path) -> None:
        self._into, self._out_of = pipe, pipe.with_suffix(".out")
        self._pipes: tuple[int, int] | None = None

    def say(self, route: Route, *, announce: bool) -> None:
        """Write one command and read its answer."""
        try:
            into, out_of = self._pipes or self._opened()
            self._drain(out_of)
            os.write(into, (exabgp_command(route, announce=announce) + "\n").encode())
            answer = _answer(out_of)
        except OSError as error:
            self.close()
            why = "no ExaBGP reads it" if error.errno in (errno.ENXIO, errno.EPIPE) else (error.strerror or str(error))
            raise FleetError(f"{self._into}: {why}; is exabgp running with this pipe?") from error
        except FleetError:
            self.close()
            raise
        if "error" in answer.split():
            raise FleetError(f'ExaBGP refuses "{exabgp_command(route, announce=announce)}"; see its log')

    def close(self) -> None:
        """Close the pipes."""
        for pipe in self._pipes or ():
            os.close(pipe)
        self._pipes = None

    def _opened(self) -> tuple[int, int]:
        for pipe in (self._into, self._out_of):
            if not stat.S_ISFIFO(pipe.stat().st_mode):
                raise FleetError(f"{pipe}: not a named pipe; make it with: mkfifo {pipe}")
        out_of = os.open(self._out_of, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            into = os.open(self._into, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            os.close(out_of)
            raise
        self._pipes = (into, out_of)
        return self._pipes

    def _drain(self, out_of: int) -> None:
        """Read away what an earlier command, perhaps not of ours, left."""
        try:
            while os.read(out_of, MOST_BYTES):
                pass
        except BlockingIOError:
            pass


def _answer(out_of: int) -> str:
    """Return what came until ``done`` or ``error`` on a line of its own."""
    text, ends_at = b"", time.monotonic() + ANSWER_S
    while time.monotonic() < ends_at and len(text) < MOST_BYTES:
        select.select([out_of], [], [], 0.05)
        try:
            piece = os.read(out_of, MOST_BYTES)
        except BlockingIOError:
            continue
        text += piece
        if not piece:  # ExaBGP opens its end for each answer
            time.sleep(0.01)
        if text.endswith((b"done\n", b"error\n")):
            return text.decode(errors="replace")
    raise FleetError(f"ExaBGP does not answer within {ANSWER_S:g} s; is it hung?")


class GoBgp:
    """GoBGP through its own command, looked for in root's directories alone; it asks the daemon on this host."""

    def __init__(self, command: str = "gobgp") -> None:
        self._command = command

    def say(self, route: Route, *, announce: bool) -> None:
        """Run one command."""
        tool = find_tool(self._command)
        if tool is None:
            raise FleetError(f"{self._command} is not installed: install GoBGP, or set speaker in [bgp]")
        try:
            done = run_tool([tool, *gobgp_arguments(route, announce=announce)], ANSWER_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise FleetError(f"{self._command} cannot be run: {_why(error)}; is gobgpd running?") from error
        if done.returncode and not (not announce and "not found" in done.stderr.lower()):
            raise FleetError(f"{self._command} refuses: {clipped(printable(done.stderr.strip() or done.stdout), 160)}")

    def close(self) -> None:
        """Do nothing: no connection stays."""


def _why(error: OSError | subprocess.TimeoutExpired) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no answer within {ANSWER_S:g} s"
    return error.strerror or str(error)
