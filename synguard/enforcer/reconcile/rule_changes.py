"""Whether others have changed the rules around the plane since they were last read, seen at a glance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from synguard.model import NEVER

GLANCE_EVERY_S: Final = 0.5
"""How often it is asked whether others changed the rules, which costs some microseconds."""


class RuleChanges:
    """Compares what a glance gives now with what it gave at the last read, or at the last change of ours after it."""

    def __init__(self, glance: Callable[[], object] | None) -> None:
        self._glance = glance
        """Gives another value once the rules have changed, None where that is not known; None where it cannot tell."""
        self._known: object = None
        self._due = NEVER
        self._noticed = False
        """Whether the next read is there because others have changed the rules."""

    @property
    def told(self) -> bool:
        """Whether a change by others would be noticed."""
        return self._known is not None

    def value(self) -> object:
        """Return what a glance gives now."""
        return self._glance() if self._glance else None

    def forget(self) -> None:
        """Know of no rules until they are read."""
        self._known = None

    def has_read(self, before: object, now: datetime, rest_s: float) -> None:
        """Note a read and what a glance gave ``before`` it; rest so long if it was there because of such a change.

        A change that comes while the rules are read shows at the next glance.
        """
        self._known = before
        self._due, self._noticed = now + timedelta(seconds=max(GLANCE_EVERY_S, self._noticed * rest_s)), False

    @contextmanager
    def ours(self) -> Iterator[None]:
        """Take a change of ours for none by others, unless they had changed the rules before it."""
        alone = self.value() == self._known
        yield
        if alone:
            self._known = self.value()

    def noticed(self, now: datetime) -> bool:
        """Return whether others have changed the rules, if it is time to ask."""
        if self._glance is None or now < self._due:
            return False
        self._due = now + timedelta(seconds=GLANCE_EVERY_S)
        seen = self.value()
        self._noticed = None not in (seen, self._known) and seen != self._known
        return self._noticed
