"""Which plane enforces on this host."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from synguard.capabilities import require_capabilities
from synguard.enforcer import ipset
from synguard.enforcer.iptables_rules import IptablesRules
from synguard.enforcer.iptables_sets import IptablesSets
from synguard.enforcer.nft_plane import NftablesPlane
from synguard.enforcer.plane import Plane
from synguard.errors import NotPermittedError, PlaneUnavailableError
from synguard.policy.models import Config


def utcnow() -> datetime:
    """Return the time of day, aware, in UTC."""
    return datetime.now(UTC)


def choose_plane(config: Config, now: Callable[[], datetime] = utcnow) -> Plane:
    """Return the plane that the config asks for and this host can give, checked.

    ``plane = auto`` prefers legacy xtables and falls to nf_tables where those do not work. ``members = auto`` prefers
    ipsets and takes rules where ipset does not work.

    Raises:
        PlaneUnavailableError: There is none.
        NotPermittedError: The process lacks a capability; it is named.
    """
    members = config.ceilings.members
    if config.plane == "nftables":
        return _checked(NftablesPlane(now, members))
    if config.plane == "iptables":
        return _iptables(config, now)
    require_capabilities("CAP_NET_ADMIN")
    try:
        return _iptables(config, now)
    except (PlaneUnavailableError, NotPermittedError) as without_legacy:
        try:
            return _checked(NftablesPlane(now, members))
        except PlaneUnavailableError as neither:
            raise PlaneUnavailableError(
                "choosing a plane", f"this host has neither; legacy iptables: {without_legacy}; nftables: {neither}"
            ) from neither


def _iptables(config: Config, now: Callable[[], datetime]) -> Plane:
    require_capabilities()
    rules = config.members == "rules" or (config.members == "auto" and not ipset.available())
    if rules:
        return _checked(IptablesRules(now, config.ceilings.rules))
    return _checked(IptablesSets(now, config.ceilings.members))


def _checked(plane: Plane) -> Plane:
    plane.check()
    return plane
