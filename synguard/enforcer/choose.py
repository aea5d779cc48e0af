"""Which plane enforces on this host."""

from __future__ import annotations

from collections.abc import Iterator

from synguard.capabilities import require_capabilities
from synguard.clock import utcnow
from synguard.enforcer.iptables.sets_plane import IptablesSetsPlane
from synguard.enforcer.plane import Plane
from synguard.errors import NotPermittedError, PlaneUnavailableError
from synguard.policy.models import Config


def choose_plane(config: Config) -> Plane:
    """Return the first plane that the config allows and that works on this host, checked.

    ``plane = auto`` takes legacy xtables with ipsets where that works, else nf_tables.

    Raises:
        PlaneUnavailableError: None works; the text has the reason of each.
        NotPermittedError: The process lacks a capability; it is named.
    """
    require_capabilities(*(("CAP_NET_ADMIN",) if config.plane != "iptables" else ()))
    refusals: list[PlaneUnavailableError | NotPermittedError] = []
    for plane in _allowed(config):
        try:
            plane.check()
        except (PlaneUnavailableError, NotPermittedError) as error:
            refusals.append(error)
        else:
            return plane
    if len(refusals) == 1 or all(isinstance(one, NotPermittedError) for one in refusals):
        raise refusals[0]
    reasons = "; ".join(dict.fromkeys(str(one) for one in refusals))
    raise PlaneUnavailableError("choosing a plane", f"none works on this host: {reasons}") from refusals[-1]


def _allowed(config: Config) -> Iterator[Plane]:
    """Yield the planes that the config allows, the best first."""
    if config.plane != "nftables":
        yield IptablesSetsPlane(utcnow, config.ceilings.members)
    if config.plane != "iptables":
        from synguard.enforcer.nftables.plane import NftablesPlane

        yield NftablesPlane(utcnow, config.ceilings.members)
