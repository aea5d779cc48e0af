"""A person at the screen: looks come from a thread, keys from the terminal, and each makes one new frame."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from synguard.errors import SynguardError
from synguard.top.frame import Tables, frame, tables_of
from synguard.top.keys import KeyEffect, press
from synguard.top.poller import Poller
from synguard.top.snapshot import Snapshot
from synguard.top.view_state import Notice, Prompt, ViewState

if TYPE_CHECKING:
    from synguard.top.actions import Actions
    from synguard.top.terminal import Terminal

_PATIENCE_S = 2.0
"""How long the end waits for a look under way."""


class Watcher:
    """Looks at the host every so often in a thread of its own, so that a slow look never stops a key."""

    def __init__(self, poller: Poller, every_s: float, first: Snapshot, wake: Callable[[], None]) -> None:
        self._poller = poller
        self._every_s = every_s
        self._wake = wake
        self._snapshot = first
        self._failure: BaseException | None = None
        self._paused = False
        self._hurry = False
        self._ends = False
        self._bell = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="look", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End; a look under way may go on for a moment."""
        self._ring(ends=True)
        self._thread.join(_PATIENCE_S)

    def latest(self) -> Snapshot:
        """Return the latest look.

        Raises:
            SynguardError: It cannot look any more.
        """
        if self._failure is not None:
            raise self._failure
        return self._snapshot

    def pause(self, paused: bool) -> None:
        """Stop looking, or go on at once."""
        self._ring(paused=paused)

    def poll_now(self, *, changed: bool = False) -> None:
        """Look at once; ``changed`` where ledger and kernel were changed by hand."""
        self._ring(hurry=changed)

    def _ring(self, *, ends: bool = False, paused: bool | None = None, hurry: bool = False) -> None:
        with self._bell:
            self._ends |= ends
            self._hurry |= hurry
            self._paused = self._paused if paused is None else paused
            self._bell.notify()

    def _run(self) -> None:
        try:
            while not self._ends:
                if self._hurry:
                    self._hurry = False
                    self._poller.hurry()
                self._snapshot = self._poller.poll()
                self._wake()
                with self._bell:
                    if not (self._ends or self._hurry):
                        self._bell.wait(None if self._paused else self._every_s)
        except BaseException as error:  # reported by what asks for the latest look
            self._failure = error
            self._wake()
        finally:
            self._poller.close()


class Session:
    """One sitting: what is seen, how it is viewed, and what the keys do."""

    def __init__(self, screen: Terminal, watcher: Watcher, actions: Actions) -> None:
        self._screen = screen
        self._watcher = watcher
        self._actions = actions
        self._view_state = ViewState()
        self._snapshot = watcher.latest()
        self._tables: Tables = tables_of(self._snapshot, self._view_state)

    def run(self) -> None:
        """Go on until the person quits.

        Raises:
            SynguardError: The host cannot be looked at any more.
        """
        self._paint()
        while self._go_on(self._screen.wait()):
            self._paint()

    def _go_on(self, pressed: list[str]) -> bool:
        for key in pressed:
            if not self._press(key):
                return False
        latest = self._watcher.latest()
        if latest is not self._snapshot and not self._view_state.paused:
            self._snapshot = latest
            self._tables = tables_of(latest, self._view_state)
        return True

    def _press(self, key: str) -> bool:
        before = self._view_state
        self._view_state, effect = press(before, key, self._tables.rows[before.pane])
        if (self._view_state.needle, self._view_state.orders) != (before.needle, before.orders):
            self._tables = tables_of(self._snapshot, self._view_state)
        if self._view_state.paused != before.paused:
            self._watcher.pause(self._view_state.paused)
        if effect is KeyEffect.LOOK:
            self._watcher.poll_now()
        elif effect in (KeyEffect.WEIGH, KeyEffect.CARRY_OUT):
            self._attend(effect)
        return effect is not KeyEffect.QUIT

    def _attend(self, effect: KeyEffect) -> None:
        """Weigh or carry out the wish in the dialog, and show what came of it."""
        asking = self._view_state.dialog
        if not isinstance(asking, Prompt):
            return
        self._view_state = replace(
            self._view_state, dialog=Notice(("looking…" if effect is KeyEffect.WEIGH else "working…",))
        )
        self._paint()
        try:
            if effect is KeyEffect.WEIGH:
                dialog: Prompt | Notice = replace(asking, lines=self._actions.weigh(asking.wish))
            else:
                dialog = Notice(self._actions.carry_out(asking.wish))
                self._watcher.poll_now(changed=True)
        except SynguardError as error:
            dialog = Notice(tuple(str(error).splitlines()) or (type(error).__name__,), bad=True)
        self._view_state = replace(self._view_state, dialog=dialog)

    def _paint(self) -> None:
        columns, lines = self._screen.size
        self._screen.paint(frame(self._snapshot, self._view_state, self._tables, columns, lines))
