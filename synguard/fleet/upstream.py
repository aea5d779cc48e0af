"""Which routes this host wants announced, the most important first; pure.

Sources only on handshake-proven evidence: a route against a forged source would have the framed address refused by the
whole network. A flood of forged sources is met by its destination: SYNs to the attacked port, limited upstream.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from synguard.fleet.outgoing import shareable
from synguard.fleet.routes import Route
from synguard.model import Ban
from synguard.policy.fleet import Bgp


@dataclass(slots=True)
class FloodedPorts:
    """The ports whose SYNs are to be limited upstream: from ``above`` SYN/s on, until calm.

    The limit itself lowers what arrives here. If a lower rate ended it, it would be announced and withdrawn in turns.
    """

    above: float
    """0: never."""
    _ports: frozenset[int] = frozenset()

    def follow(self, attacked: Collection[int], syn_pps: float, *, calm: bool) -> frozenset[int]:
        """Take in the ports under attack and the rate of SYNs at this moment; return the ports to limit."""
        if self.above and syn_pps >= self.above:
            self._ports |= frozenset(attacked)
        elif calm:
            self._ports = frozenset()
        return self._ports


def wanted_routes(
    settings: Bgp,
    *,
    bans: Iterable[Ban],
    flooded: Collection[int],
    blackholes: Mapping[Route, datetime],
    now: datetime,
) -> dict[Route, float]:
    """Return route → seconds that it may stand from now on without a new word.

    ``flooded`` are the ports whose SYNs are to be limited. Blackholes, which a person ordered, come first, then the
    flood, then sources, the highest score first.
    """
    wanted = {route: (ends_at - now).total_seconds() for route, ends_at in blackholes.items() if ends_at > now}
    for destination in settings.destinations:
        for port in sorted(flooded):
            route = Route(None, destination, port, syns_only=True, rate_bytes=settings.rate_bytes)
            wanted[route] = settings.lifetime
    if settings.sources != "off":
        rate = settings.rate_bytes if settings.sources == "rate-limit" else 0
        proven = sorted((ban for ban in bans if shareable(ban)), key=lambda ban: -ban.score)
        for ban in proven:
            left_s = (ban.expires_at - now).total_seconds() if ban.expires_at else 0.0
            if left_s > 0:
                for destination in (one for one in settings.destinations if one.version == ban.target.version):
                    route = Route(ban.target, destination, rate_bytes=rate)
                    wanted[route] = min(left_s, settings.lifetime)
    return wanted
