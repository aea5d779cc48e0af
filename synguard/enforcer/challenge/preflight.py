"""Keeps known what stands in the way of challenging, read in a thread of its own and never in a tick."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from synguard.capabilities import permission_or
from synguard.enforcer.challenge import rules_fingerprint
from synguard.enforcer.challenge.handshakes import Entrance
from synguard.enforcer.challenge.kernel_needs import kernel_obstacles
from synguard.enforcer.challenge.obstacles import UNREAD, Obstacle, rule_obstacles
from synguard.enforcer.challenge.ruleset import OURS, Ruleset, read_rules
from synguard.errors import SynguardError

LOOK_EVERY_S: Final = 10.0
"""Whether nf_tables has changed is asked so often: one question to the kernel."""
READ_EVERY_S: Final = 60.0
"""Legacy tables and the sysctl have no generation: they are read anew so often."""


def preflight(ports: Iterable[int], entrances: Sequence[Entrance]) -> tuple[Obstacle, ...]:
    """Return what stands in the way of challenging clients of these ports; some ten milliseconds."""
    return (*kernel_obstacles(), *rule_obstacles(read_rules(), ports, entrances))


class ChallengePreflight:
    """The obstacles as of the last look. Not challenging before the first look has ended is the caller's part."""

    def __init__(self, look: Callable[[], Ruleset] = read_rules, state: Callable[[], bytes] | None = None) -> None:
        self.obstacles: tuple[Obstacle, ...] | None = None
        """None until they are known for the first time."""
        self._look = look
        self._state = state or _State()
        self._asked: tuple[frozenset[int], tuple[Entrance, ...]] = frozenset(), ()
        self._last_state = b""
        self._look_due = self._read_due = float("-inf")
        self._worker: threading.Thread | None = None

    def follow(self, ports: Iterable[int], entrances: Sequence[Entrance], now: float) -> None:
        """Start a look where one is due: at first, at other ports or entrances, at other rules; returns at once."""
        if self._worker and self._worker.is_alive():
            return
        asked = frozenset(ports), tuple(entrances)
        anew = asked != self._asked or now >= self._read_due
        if not anew and now < self._look_due:
            return
        self._look_due = now + LOOK_EVERY_S
        if anew:
            self._asked, self._read_due = asked, now + READ_EVERY_S
        self._worker = threading.Thread(target=self._work, args=(anew,), name="preflight", daemon=True)
        self._worker.start()

    def wait(self, timeout_s: float) -> bool:
        """Return whether the look that goes on has ended in time."""
        if self._worker:
            self._worker.join(timeout_s)
        return self.obstacles is not None

    def _work(self, anew: bool) -> None:
        try:
            state = self._state()
            if not anew and state == self._last_state:
                return
            ports, entrances = self._asked
            self.obstacles = (*kernel_obstacles(), *rule_obstacles(self._look(), ports, entrances))
            self._last_state = state
        except SynguardError as error:
            fix = permission_or("synguard doctor")
            self.obstacles = (Obstacle(UNREAD, f"what stands in the way of challenges is not known: {error}", fix),)


class _State:
    """The fingerprint of nf_tables, made again only where its generation is another one."""

    def __init__(self) -> None:
        self._generation = -1
        self._fingerprint = b""

    def __call__(self) -> bytes:
        generation = rules_fingerprint.generation()
        if generation != self._generation:
            self._fingerprint = rules_fingerprint.fingerprint(OURS)
            self._generation = generation
        return self._fingerprint
