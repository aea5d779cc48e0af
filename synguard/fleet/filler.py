"""A long list of bans, brought to the kernel beside an agent whose ticks would take it over piece by piece.

What cannot be brought from here is brought by the agent, which tells why if it cannot either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from synguard.enforcer.filling import bring, into_ipsets
from synguard.enforcer.plane import Delta
from synguard.errors import NotPermittedError, PlaneError
from synguard.ledger.arrivals import ActiveRow, Arrival, Arrivals
from synguard.model import Origin


class PlaneFiller:
    """Fills the sets of whichever plane the agent uses."""

    def __init__(self, lock: Path, ceiling: int, utcnow: Callable[[], datetime]) -> None:
        self._lock = lock
        self._ceiling = ceiling
        self._utcnow = utcnow

    def fill(
        self,
        plane: str,
        bans: Sequence[Arrival],
        active: Sequence[ActiveRow],
        unsettled: Callable[[], bool],
    ) -> None:
        """Bring bans to the plane as long as they are ``unsettled`` and there is room for all of them."""
        ready = {"iptables-sets": self._into_ipsets, "nftables": self._into_nftables}.get(plane)
        if ready is None or not self._have_room(bans, active):
            return
        with suppress(PlaneError, NotPermittedError):
            bring(bans, ready, self._lock, unsettled)

    def _have_room(self, bans: Sequence[Arrival], active: Sequence[ActiveRow]) -> bool:
        """Return whether all of them may be held; which of them may wait is the agent's to say, and to tell."""
        count = len(active) + len(bans)
        if count <= self._ceiling:
            return True
        ipv6 = sum(":" in ban.target for some in (active, bans) for ban in some)
        return max(ipv6, count - ipv6) <= self._ceiling

    def _into_ipsets(self, bans: Sequence[Arrival]) -> Callable[[], None]:
        return into_ipsets((ban[:3] for ban in bans), self._utcnow())

    def _into_nftables(self, bans: Sequence[Arrival]) -> Callable[[], None]:
        from synguard.enforcer.nftables.plane import NftablesPlane  # 13 MB that ipsets do without

        now = self._utcnow()
        change = Delta(add=tuple(Arrivals(Origin.CROWDSEC, "", now, bans).as_bans()))
        return lambda: NftablesPlane(self._utcnow, self._ceiling).apply(change)
