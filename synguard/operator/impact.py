"""What bans of many targets would hit, asked once for all of them: who is connected, protected, banned already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Final, TypeVar

from synguard.addresses import EMBEDDING, WIDEST_BY_VERSION, Network, NetworkIndex, host_at, overlaps, widest

if TYPE_CHECKING:
    from synguard.socket_table import Presence, SocketTable

T = TypeVar("T")

FEW_SOCKETS: Final = 4_096
"""Sockets that are looked up among the targets one by one."""

LINK_LOCAL: Final = (IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10"))


class Targets(NetworkIndex):
    """The targets of an order, asked which of them are too wide for a ban, and who is connected from them."""

    def too_wide(self, embedding: Iterable[IPv6Network]) -> Iterator[Network]:
        """Yield the targets that are too wide for a ban, of whatever ``embedding`` is there."""
        perhaps: dict[Network, None] = {}
        for (version, length), starts in self.by_length.items():
            if length < WIDEST_BY_VERSION[version]:
                perhaps |= dict.fromkeys(starts.values())
        for translated in embedding:
            perhaps |= dict.fromkeys(self.all_overlapping(translated))
        return (target for target in perhaps if any(too_wide(target, embedding)))

    def present(self, table: SocketTable | Mapping[Network, Presence]) -> dict[Network, Presence]:
        """Return target → its sockets, for those that hold any; no Python loop over very many sockets."""
        if isinstance(table, Mapping):
            return {target: there for target, there in table.items() if there.sockets}
        from synguard.detector.peers import presence

        hit = self._one_by_one(table) if len(table) <= FEW_SOCKETS else self._by_columns(table)
        found = {target: presence(rows, target) for target, rows in hit}
        return {target: there for target, there in found.items() if there.sockets}

    def _one_by_one(self, table: SocketTable) -> Iterator[tuple[Network, SocketTable]]:
        ends = set(zip(table.remote_high.tolist(), table.remote_low.tolist(), strict=True))
        for target in {target for end in ends for target in self.all_overlapping(host_at(*end))}:
            yield target, table

    def _by_columns(self, table: SocketTable) -> Iterator[tuple[Network, SocketTable]]:
        import numpy as np

        from synguard.detector.ban_filter import by_key, within
        from synguard.detector.columns import halves, masks, network_at

        for (version, length), starts in self.by_length.items():
            columns = np.array([halves(one) for one in starts.values()], np.uint64)
            firsts = by_key(columns[:, 0].copy(), columns[:, 1].copy())
            rows = table.where(within(table.remote_high, table.remote_low, firsts, version, length))
            high_mask, low_mask = masks(version, length)
            pairs = zip((rows.remote_high & high_mask).tolist(), (rows.remote_low & low_mask).tolist(), strict=True)
            for high, low in set(pairs):
                yield network_at(high, low, version, length), rows


def by_target(
    targets: NetworkIndex, parties: Iterable[T], network_of: Callable[[T], Network]
) -> Mapping[Network, list[T]]:
    """Return target → the parties that share an address with it, in their order; targets with none are absent."""
    found: dict[Network, list[T]] = {}
    for party in parties:
        for target in targets.all_overlapping(network_of(party)):
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
        yield f"anything wider than /{most} is too wide for a ban{where}"
