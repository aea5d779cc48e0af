"""Peers that completed a handshake lately. Earned per address, never per prefix; bounded; gone after minutes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat

import numpy as np

from synguard.addresses import Network, host_network
from synguard.detector.ban_filter import Networks, within
from synguard.detector.columns import halves, is_ipv4, network_at
from synguard.readings import U64


class ProvenPeers:
    """Remembers who completed a handshake and when, by monotonic seconds."""

    def __init__(self, lifetime_s: float, at_most: int) -> None:
        self._lifetime_s = lifetime_s
        self._at_most = at_most
        self._seen_at: dict[tuple[int, int], float] = {}
        self._columns: tuple[U64, U64] | None = None

    def limit(self, lifetime_s: float, at_most: int) -> None:
        """Remember for this long and this many from now on."""
        self._lifetime_s = lifetime_s
        self._at_most = at_most

    def __len__(self) -> int:
        return len(self._seen_at)

    def add(self, peers: Iterable[tuple[int, int]], now: float) -> None:
        """Note that these addresses, as (high, low), hold or held a completed connection at ``now``."""
        self._seen_at.update(zip(peers, repeat(now)))
        self._columns = None
        if len(self._seen_at) > self._at_most or self._oldest_is_stale(now):
            self._forget(now)

    def seen_at(self, target: Network) -> float | None:
        """Return when a single address last proved itself, or None; wider targets prove nothing."""
        if target.prefixlen != target.max_prefixlen:
            return None
        return self._seen_at.get(halves(target))

    def inside(self, target: Network, at_most: int) -> list[Network]:
        """Return up to ``at_most`` proven addresses inside a network."""
        if target.prefixlen == target.max_prefixlen:
            return [target] if halves(target) in self._seen_at else []
        first_high, first_low = halves(target)
        last_high, last_low = halves(host_network(target.broadcast_address))
        high, low = self._as_columns()
        within = (high >= first_high) & (high <= last_high)
        within &= (high > first_high) | (low >= first_low)
        within &= (high < last_high) | (low <= last_low)
        rows = np.flatnonzero(within)[:at_most]
        length = target.max_prefixlen
        return [network_at(int(high[i]), int(low[i]), target.version, length) for i in rows.tolist()]

    def inside_any(self, networks: Networks) -> Iterator[Network]:
        """Yield the proven addresses inside any of many networks, whatever their ports."""
        high, low = self._as_columns()
        inside = np.zeros(len(low), np.bool_)
        for (version, prefixlen, _), firsts in networks.items():
            inside |= within(high, low, firsts, version, prefixlen)
        ipv4 = is_ipv4(high, low)
        for row in np.flatnonzero(inside).tolist():
            yield network_at(int(high[row]), int(low[row]), *((4, 32) if ipv4[row] else (6, 128)))

    def _as_columns(self) -> tuple[U64, U64]:
        if self._columns is None:
            pairs = np.array(list(self._seen_at), dtype=np.uint64).reshape(-1, 2)
            self._columns = pairs[:, 0].copy(), pairs[:, 1].copy()
        return self._columns

    def _oldest_is_stale(self, now: float) -> bool:
        oldest = next(iter(self._seen_at.values()), now)
        return oldest < now - 2 * self._lifetime_s

    def _forget(self, now: float) -> None:
        fresh = sorted(((at, peer) for peer, at in self._seen_at.items() if at >= now - self._lifetime_s), reverse=True)
        self._seen_at = {peer: at for at, peer in reversed(fresh[: self._at_most])}
