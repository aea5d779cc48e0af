"""What bans of many targets would hit, asked once for all of them: who is connected, protected, banned already."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from synguard.addresses import EMBEDDING, Network, overlaps, widest
from synguard.detector.ban_filter import by_key, within
from synguard.detector.columns import halves, masks, network_at

if TYPE_CHECKING:
    from synguard.detector.peers import Presence
    from synguard.readings import SocketTable

T = TypeVar("T")

LINK_LOCAL: Final = (IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10"))


class Targets:
    """Many networks, asked which of them share an address with another one."""

    def __init__(self, targets: Iterable[Network]) -> None:
        self._by_width: dict[tuple[int, int], dict[int, Network]] = {}
        for target in targets:
            starts = self._by_width.setdefault((target.version, target.prefixlen), {})
            starts[int(target.network_address)] = target
        self._sorted = {
            version: sorted((start, width[1]) for width, starts in self._by_width.items() if width[0] == version
                            for start in starts)
            for version in (4, 6)
        }  # fmt: skip

    def overlapping(self, network: Network) -> Iterator[Network]:
        """Yield the targets that cover the network or lie inside it."""
        version, prefixlen = network.version, network.prefixlen
        start, bits = int(network.network_address), network.max_prefixlen
        for (of, length), starts in self._by_width.items():
            if of == version and length <= prefixlen:
                found = starts.get(start >> (bits - length) << (bits - length))
                if found is not None:
                    yield found
        if prefixlen == bits:
            return
        order, last = self._sorted[version], start + (1 << (bits - prefixlen)) - 1
        at = bisect_left(order, (start, prefixlen + 1))
        while at < len(order) and order[at][0] <= last:
            first, length = order[at]
            if length > prefixlen:
                yield self._by_width[version, length][first]
            at += 1

    def present(self, table: SocketTable) -> dict[Network, Presence]:
        """Return target → its sockets, for those that hold any; no Python loop over sockets that no target holds."""
        from synguard.detector.peers import presence

        hit: list[tuple[Network, SocketTable]] = []
        for (version, length), starts in self._by_width.items():
            columns = np.array([halves(one) for one in starts.values()], np.uint64)
            firsts = by_key(columns[:, 0].copy(), columns[:, 1].copy())
            rows = table.where(within(table.remote_high, table.remote_low, firsts, version, length))
            high_mask, low_mask = masks(version, length)
            pairs = zip((rows.remote_high & high_mask).tolist(), (rows.remote_low & low_mask).tolist(), strict=True)
            hit += [(network_at(high, low, version, length), rows) for high, low in set(pairs)]
        found = {target: presence(rows, target) for target, rows in hit}
        return {target: there for target, there in found.items() if there.sockets}


def by_target(targets: Targets, parties: Iterable[T], network_of: Callable[[T], Network]) -> Mapping[Network, list[T]]:
    """Return target → the parties that share an address with it, in their order; targets with none are absent."""
    found: dict[Network, list[T]] = {}
    for party in parties:
        for target in targets.overlapping(network_of(party)):
            found.setdefault(target, []).append(party)
    return found


def link_local(target: Network) -> Iterator[str]:
    """Yield what a ban of link-local addresses stops."""
    if any(overlaps(one, target) for one in LINK_LOCAL):
        yield "  link-local: a cloud's metadata and name servers (169.254.169.254), neighbours and routers (fe80::)"


def too_wide(target: Network, embedding: Iterable[IPv6Network] = EMBEDDING) -> Iterator[str]:
    """Yield why a target is too wide for a ban, if it is."""
    if target.prefixlen < (most := widest(target, embedding)):
        translated = next((one for one in embedding if overlaps(one, target)), None) if most > 96 else None
        where = f" in {translated}: IPv4 addresses are embedded there" if translated else ""
        yield f"anything wider than /{most} is absurd as a ban{where}"
