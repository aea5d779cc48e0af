"""The bans that are wanted, kept up change by change: one more on top of 100,000 must not cost what those did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from synguard.addresses import Network, NetworkIndex
from synguard.enforcer.plane import Desired
from synguard.enforcer.reconcile.expiry import ExpiryQueue
from synguard.model import Ban, Origin, Scope


class Closed:
    """Networks that come and go, each as often as it was put in; says whether one covers another."""

    def __init__(self) -> None:
        self._starts: dict[tuple[int, int], Counter[int]] = {}

    def put(self, network: Network) -> None:
        """Take in one more."""
        starts = self._starts.setdefault((network.version, network.prefixlen), Counter())
        starts[int(network.network_address)] += 1

    def drop(self, network: Network) -> None:
        """Let go of one that was put in."""
        width, start = (network.version, network.prefixlen), int(network.network_address)
        starts = self._starts[width]
        starts[start] -= 1
        if not starts[start]:
            del starts[start]
        if not starts:
            del self._starts[width]

    def covers(self, network: Network) -> bool:
        """Return whether one of them covers all of ``network``; one probe per prefix length in use."""
        start = int(network.network_address)
        for (version, length), starts in self._starts.items():
            if version == network.version and length <= network.prefixlen:
                host_bits = network.max_prefixlen - length
                if start >> host_bits << host_bits in starts:
                    return True
        return False


class DesiredState:
    """Bans that stand, by id. What it says is wanted equals ``Desired.of`` the same bans, at a cost per change."""

    def __init__(self) -> None:
        self._bans: dict[str, Ban] = {}
        self._forced: dict[str, Ban] = {}
        self._closed = {origin: Closed() for origin in Origin}
        self._ends = ExpiryQueue()
        self._copy: Mapping[str, Ban] | None = None
        self._version, self._before = object(), object()
        self._changed: dict[str, None] = {}
        """Ids of bans that are not as they are in the last copy."""
        self._changes: tuple[str, ...] = ()

    def put(self, ban: Ban) -> None:
        """Want this ban, instead of one of the same id."""
        self.drop(ban.id)
        self._note(ban.id)
        self._bans[ban.id] = ban
        if ban.forced:
            self._forced[ban.id] = ban
        if ban.scope is Scope.NEW:
            self._closed[ban.origin].put(ban.target)
        if ban.expires_at is not None:
            self._ends.put(ban.expires_at, ban.id)

    def drop(self, ban_id: str) -> Ban | None:
        """Want the ban of this id no more; return it if it was wanted."""
        ban = self._bans.pop(ban_id, None)
        if ban is None:
            return None
        self._note(ban_id)
        self._forced.pop(ban_id, None)
        if ban.scope is Scope.NEW:
            self._closed[ban.origin].drop(ban.target)
        return ban

    def expire(self, now: datetime, at_most: int | None = None) -> list[Ban]:
        """Drop bans that have ended at ``now``, about ``at_most`` of them; return them."""
        expired: list[Ban] = []
        for expires_at, ban_id in self._ends.due(now, at_most):
            ban = self._bans.get(ban_id)
            if ban is not None and ban.expires_at == expires_at:
                self.drop(ban_id)
                expired.append(ban)
        return expired

    @property
    def next_expiry(self) -> datetime:
        """When ``expire`` is to be asked again, or somewhat before; far in the future if nothing ends."""
        return self._ends.next

    def desired(self, protected: Iterable[Network], proven: Iterable[Network]) -> Desired:
        """Return what the kernel should hold; bans that have not changed are the same mapping as before."""
        if self._copy is None:
            self._copy = dict(self._bans)
            self._before, self._version = self._version, object()
            self._changes, self._changed = tuple(self._changed), {}
        forced = NetworkIndex(ban.target for ban in self._forced.values())
        automatic, by_hand = self._closed[Origin.AUTO], self._closed[Origin.MANUAL]
        return Desired(
            bans=self._copy,
            allow=frozenset(party for party in protected if not forced.overlapping(party)),
            proven=frozenset(peer for peer in proven if automatic.covers(peer) and not by_hand.covers(peer)),
            version=self._version,
            before=self._before,
            changed=self._changes,
        )

    def _note(self, ban_id: str) -> None:
        self._copy = None
        self._changed[ban_id] = None
