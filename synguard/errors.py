"""One error class per reaction; every text is fit for an operator.

Programmer mistakes stay builtin errors and are not caught by the agent's loop.
"""

from __future__ import annotations

from typing import ClassVar


class SynguardError(Exception):
    """Something an operator can act on: ``str(error)`` says what, where and what to do."""

    exit_code: ClassVar[int] = 1


class ConfigError(SynguardError):
    """Config, policy or allow-list that cannot be used: tell the author, keep the running policy.

    ``problems`` holds every fault found, each with its path as the operator typed it.
    """

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class UsageError(SynguardError):
    """A word on the command line that cannot be read: an address, a port, a duration."""

    exit_code = 2


class RefusedError(SynguardError):
    """Refused for safety: a protected target, an absurd width."""

    exit_code = 3


class NotPermittedError(SynguardError):
    """The process lacks a capability; the text names it."""

    exit_code = 4


class SensorError(SynguardError):
    """No reading this tick: never the same as "zero connections"."""


class LedgerError(SynguardError):
    """State cannot be read or saved."""


class FleetError(SynguardError):
    """A peer of the fleet is away or answers nonsense: what is known stands, and it is asked again later."""


class PlaneError(SynguardError):
    """The kernel or its tool refused a change.

    Attributes:
        action: What was tried, as an operator would say it.
        detail: The tool's own words.
    """

    def __init__(self, action: str, detail: str) -> None:
        super().__init__(f"{action}: {detail}")
        self.action = action
        self.detail = detail


class LockHeldError(PlaneError):
    """Another process is changing the plane, and has not ended in time."""


class CapacityError(SynguardError):
    """The kernel would have to hold more than a ceiling of the configuration allows; nothing was changed."""


class ChangedUnderneathError(PlaneError):
    """Another process changed the same table between our read and our write: read again and retry."""


class PlaneUnavailableError(PlaneError):
    """This plane cannot be used on this host at all."""

    exit_code = 5
