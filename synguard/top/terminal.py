"""The terminal, through curses: it knows what stands there and sends only the cells that changed."""

from __future__ import annotations

import curses
import locale
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, Final, Self

from synguard.errors import SynguardError
from synguard.top import keys
from synguard.top.spans import Line, Style, in_ascii

_ESCAPE_MS: Final = 100
"""How long to wait for the rest of an arrow key's sequence: slow links tear it apart."""
_DEAF: Final = 3
"""Times that a terminal may be readable and yield no key before it counts as gone."""

_NAMES: Final[Mapping[int | str, str]] = {
    curses.KEY_UP: keys.UP,
    curses.KEY_DOWN: keys.DOWN,
    curses.KEY_PPAGE: keys.PAGE_UP,
    curses.KEY_NPAGE: keys.PAGE_DOWN,
    curses.KEY_HOME: keys.HOME,
    curses.KEY_END: keys.END,
    curses.KEY_ENTER: keys.ENTER,
    curses.KEY_BACKSPACE: keys.BACKSPACE,
    curses.KEY_BTAB: keys.BACK_TAB,
    curses.KEY_DC: keys.BACKSPACE,
    "\n": keys.ENTER,
    "\r": keys.ENTER,
    "\t": keys.TAB,
    "\x1b": keys.ESCAPE,
    "\x7f": keys.BACKSPACE,
    "\b": keys.BACKSPACE,
}


class TerminalGoneError(Exception):
    """Nobody is at the other end any more."""


def can_be_live(environment: Mapping[str, str]) -> bool:
    """Return whether stdin and stdout are a terminal on which the cursor can be moved."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or environment.get("TERM", "dumb") in ("", "dumb"):
        return False
    try:
        curses.setupterm()
        return curses.tigetstr("cup") is not None
    except curses.error:  # the terminal is not known here; terminfo of another system, often
        return False


class Terminal:
    """A terminal taken over for a while; it is given back as it was, whatever happens."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._colour = not environment.get("NO_COLOR")
        self._awake, self._waker = socket.socketpair()
        self._screen: Any = None
        self._looks: dict[Style, int] = {}
        self._before: dict[int, Any] = {}
        self._ascii = True
        self._deaf = 0

    def __enter__(self) -> Self:
        for end in (self._awake, self._waker):
            end.setblocking(False)
        with suppress(locale.Error):
            locale.setlocale(locale.LC_ALL, "")
        self._ascii = "UTF" not in locale.nl_langinfo(locale.CODESET).upper()
        # Ours are set first: curses then installs none of its own, and a resize wakes the wait for keys.
        self._before = {
            signal.SIGWINCH: signal.signal(signal.SIGWINCH, self._resized),
            signal.SIGTERM: signal.signal(signal.SIGTERM, _terminated),
        }
        try:
            self._screen = curses.initscr()
        except curses.error as error:
            self._put_signals_back()
            raise SynguardError(f"the terminal cannot be used: {error}; synguard top --count 1 prints it") from error
        self._set_up()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(curses.error):
            self._screen.keypad(False)
            curses.endwin()
        self._put_signals_back()
        self._awake.close()
        self._waker.close()

    def wake(self) -> None:
        """Let ``wait`` return, from any thread."""
        with suppress(OSError):  # full: it is awake already; closed: nobody waits any more
            self._waker.send(b".")

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        lines, columns = self._screen.getmaxyx()
        return columns, lines

    def paint(self, lines: Sequence[Line]) -> None:
        """Show these lines; curses sends what differs from what stands there."""
        self._screen.erase()
        for row, one in enumerate(lines):
            column = 0
            for span in in_ascii(one) if self._ascii else one:
                with suppress(curses.error):  # the last cell of the last line: written, and then complained about
                    self._screen.addstr(row, column, span.text, self._looks[span.style])
                column += len(span.text)
        self._screen.refresh()

    def wait(self) -> list[str]:
        """Return the keys pressed, by name; none where ``wake`` or a resize ended the wait.

        Raises:
            TerminalGoneError: The terminal was closed.
        """
        ready, _, _ = select.select([sys.stdin, self._awake], [], [])
        if self._awake in ready:
            with suppress(BlockingIOError):
                while self._awake.recv(4096):
                    pass
            self._follow_size()
        pressed = list(iter(self._key, None)) if sys.stdin in ready else []
        self._deaf = self._deaf + 1 if sys.stdin in ready and not pressed else 0
        if self._deaf > _DEAF:
            raise TerminalGoneError
        return [name for name in pressed if name]

    def _key(self) -> str | None:
        """Return the name of the next key, empty for one that means nothing here, None where none is left."""
        try:
            key = self._screen.get_wch()
        except curses.error:
            return None
        if key in _NAMES:
            return _NAMES[key]
        return key if isinstance(key, str) and key.isprintable() else ""

    def _set_up(self) -> None:
        curses.noecho()
        curses.cbreak()
        curses.set_escdelay(_ESCAPE_MS)
        self._screen.keypad(True)
        self._screen.nodelay(True)
        with suppress(curses.error):
            curses.curs_set(0)
        self._looks = _looks(self._colour)

    def _resized(self, number: int, at: FrameType | None) -> None:
        self.wake()

    def _follow_size(self) -> None:
        with suppress(OSError, curses.error):
            columns, lines = os.get_terminal_size(sys.stdout.fileno())
            if (columns, lines) != self.size:
                curses.resizeterm(max(lines, 1), max(columns, 1))
                self._screen.clear()

    def _put_signals_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _terminated(number: int, at: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _looks(colour: bool) -> dict[Style, int]:
    """Return style → attributes of curses; each is told apart without colour too, where it matters."""
    looks = {
        Style.USUAL: curses.A_NORMAL,
        Style.FAINT: curses.A_DIM,
        Style.STRONG: curses.A_BOLD,
        Style.GOOD: curses.A_NORMAL,
        Style.WATCH: curses.A_NORMAL,
        Style.BAD: curses.A_BOLD,
        Style.LOUD: curses.A_REVERSE | curses.A_BOLD,
        Style.TITLE: curses.A_UNDERLINE,
        Style.FOCUS: curses.A_UNDERLINE | curses.A_BOLD,
        Style.CHOSEN: curses.A_REVERSE,
    }
    with suppress(curses.error):
        if colour and curses.tigetnum("colors") >= 8:
            curses.start_color()
            curses.use_default_colors()
            hues = {Style.GOOD: curses.COLOR_GREEN, Style.WATCH: curses.COLOR_YELLOW, Style.BAD: curses.COLOR_RED}
            for number, (style, hue) in enumerate(hues.items(), start=1):
                curses.init_pair(number, hue, -1)
                looks[style] |= curses.color_pair(number)
            looks[Style.LOUD] |= curses.color_pair(3)
    return looks
