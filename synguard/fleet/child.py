"""A process of ours beside the agent: lines to it and from it, for which neither ever waits; restarted when it ends."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

RESTART_S: Final = 5.0
"""Time between two starts of a process that ended by itself."""
_MOST_SAID: Final = 1 << 16
_LONGEST_LINE: Final = 1 << 20


class Child:
    """One process; the end of its input is its sign to end, which the kernel gives too when the agent is killed."""

    def __init__(self, command: Sequence[str], patience_s: float) -> None:
        self.command = list(command)
        self._patience_s = patience_s
        self._process: subprocess.Popen[bytes] | None = None
        self._start_at = float("-inf")
        self._said = b""
        self._unsent = b""

    def ensure(self, now: float) -> bool:
        """Return whether a new process was started now.

        Raises:
            OSError: None runs, and none can be started.
        """
        if (self._process is not None and self._process.poll() is None) or now < self._start_at:
            return False
        self._start_at = now + RESTART_S
        process = subprocess.Popen(  # noqa: S603  # our own module
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
        self._process, self._said, self._unsent = process, b"", b""
        return True

    @property
    def behind(self) -> bool:
        """Whether it has not taken all that was sent to it."""
        return bool(self._unsent)

    def tell(self, line: str = "") -> None:
        """Tell it one more line, and send what did not fit into the pipe before: no line is ever cut short."""
        if line:
            self._unsent += line.encode() + b"\n"
        process = self._process
        if self._unsent and process is not None and process.stdin is not None:
            with suppress(BlockingIOError, BrokenPipeError):
                self._unsent = self._unsent[os.write(process.stdin.fileno(), self._unsent) :]

    def lines(self) -> list[bytes]:
        """Return the whole lines that it has said since the last call."""
        process = self._process
        if process is None or process.stdout is None:
            return []
        with suppress(BlockingIOError):
            self._said += os.read(process.stdout.fileno(), _MOST_SAID)
        *lines, self._said = self._said.split(b"\n")
        self._said = self._said[:_LONGEST_LINE]
        return lines

    def close(self) -> None:
        """Let it end by itself, and end it where it takes longer than its patience."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(self._patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
