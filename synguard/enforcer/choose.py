"""Which plane enforces on this host."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from synguard.enforcer import ipset
from synguard.enforcer.capabilities import require_capabilities
from synguard.enforcer.iptables_rules import IptablesRules
from synguard.enforcer.iptables_sets import IptablesSets
from synguard.enforcer.plane import Plane
from synguard.errors import PlaneUnavailableError
from synguard.policy.models import Config


def utcnow() -> datetime:
    """Return the time of day, aware, in UTC."""
    return datetime.now(UTC)


def choose_plane(config: Config, now: Callable[[], datetime] = utcnow) -> Plane:
    """Return the plane that the config asks for and this host can give, checked.

    ``members = auto`` prefers sets and takes rules where ipset does not work.

    Raises:
        PlaneUnavailableError: There is none.
        NotPermittedError: The process lacks a capability; it is named.
    """
    if config.plane == "nftables":
        raise PlaneUnavailableError(
            'choosing the plane "nftables"', "this release does not have it yet; set plane = auto or iptables"
        )
    require_capabilities()
    rules = config.members == "rules" or (config.members == "auto" and not ipset.available())
    plane: Plane = IptablesRules(now) if rules else IptablesSets(now)
    plane.check()
    return plane
