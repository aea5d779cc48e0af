"""Whether enforcement may begin here: what would make it useless, blind, or lock out the person who orders it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from synguard.addresses import Address, NetworkIndex, host_network
from synguard.enforcer.plane import Plane
from synguard.errors import PlaneError
from synguard.readings import Protected

ON_TRIAL_AT_LEAST_S: Final = 5.0
ON_TRIAL_AT_MOST_S: Final = 86400.0


def failed_checks(plane: Plane | PlaneError, protected: Protected, operator: Address | None) -> Iterator[str]:
    """Yield why enforcement must not begin, one sentence each; nothing where it may.

    ``protected`` is as the agent knows it: that a verb was called over SSH protects no one from an agent that knows of
    logins only by the host's own memory of them.
    """
    if isinstance(plane, PlaneError):
        yield f"there is no plane to enforce with: {plane}"
    for problem in protected.problems:
        yield f"it is not known which addresses to protect: {problem}"
    if reason := unprotected(protected, operator):
        yield f"{reason}; synguard allow add {operator}"


def unprotected(protected: Protected, operator: Address | None) -> str:
    """Return that the address which a person is logged in from may be banned; empty at the console or where not."""
    if operator is None or NetworkIndex(protected.networks).covering(host_network(operator)) is not None:
        return ""
    return f"your own address {operator} is not protected: this host keeps no memory of your login"
