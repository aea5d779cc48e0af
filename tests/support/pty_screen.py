"""A terminal for programs under test: a pseudo-terminal of any size, and what a person would see on it."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import pyte

KEYS = {"up": "\x1b[A", "down": "\x1b[B", "enter": "\r", "tab": "\t", "escape": "\x1b", "ctrl-c": "\x03"}
"""Names → what a terminal sends; curses asks for the application form of arrows only where terminfo says so."""


class PtyScreen:
    """One program on a pseudo-terminal; a context manager that ends it."""

    def __init__(
        self,
        command: Sequence[str],
        columns: int = 80,
        lines: int = 24,
        environment: Mapping[str, str] = {},  # only read
    ) -> None:
        self.screen: Any = pyte.Screen(columns, lines)
        self._stream: Any = pyte.ByteStream(self.screen)
        self.received = 0
        """Bytes that the program has sent: what a slow link carries."""
        self._master, slave = os.openpty()
        self._set_size(columns, lines)
        # "linux" is what pyte imitates, colours and all; its arrows are the plain ones.
        env = {**os.environ, "TERM": "linux", "LC_ALL": "C.UTF-8", **environment}
        env.pop("COLUMNS", None)
        env.pop("LINES", None)
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True, close_fds=True
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.hang_up()

    @property
    def text(self) -> str:
        """All that is shown, a line a line, without blanks at the end."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def press(self, *keys: str) -> None:
        """Type keys: characters, or names of ``KEYS``."""
        for key in keys:
            os.write(self._master, KEYS.get(key, key).encode())

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size, as dragging a window does."""
        self._set_size(columns, lines)
        self.screen.resize(lines, columns)
        os.killpg(self.process.pid, signal.SIGWINCH)

    def hang_up(self) -> None:
        """Close the terminal, as a lost connection does."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def read_for(self, seconds: float) -> None:
        """Take in what the program sends within this time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and self._take(left):
            pass

    def wait_for(self, shown: str | Callable[[str], bool], timeout: float = 20.0) -> str:
        """Return what is shown once it holds this text, or the condition is true of it.

        Raises:
            AssertionError: It never came; carries what was shown last.
        """
        holds = (lambda text: shown in text) if isinstance(shown, str) else shown
        deadline = time.monotonic() + timeout
        while not holds(self.text):
            left = deadline - time.monotonic()
            if left <= 0 or not self._take(min(left, 0.5)):
                assert holds(self.text), f"waited in vain for {shown!r}; the screen shows:\n{self.text}"
                break
        return self.text

    def wait_end(self, timeout: float = 20.0) -> int:
        """Return the exit code once the program has ended."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None and time.monotonic() < deadline:
            self._take(0.1)
        return self.process.wait(1)

    def _take(self, timeout: float) -> bool:
        """Take in what comes within the time; False where the program has closed its terminal."""
        ready, _, _ = select.select([self._master], [], [], timeout)
        if not ready:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: nobody holds the other end
            return False
        self.received += len(data)
        self._stream.feed(data)
        return bool(data)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
