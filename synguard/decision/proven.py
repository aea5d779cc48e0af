"""Peers that completed a handshake lately. Earned per address, never per prefix; bounded; gone after minutes.

The places are shared: where they do not suffice, the networks that hold most of them give way first, and in each of
them the networks inside it that do, and its newest peers. So one that completes handshakes from very many addresses
pushes out its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Network
from typing import Final

import numpy as np
import numpy.typing as npt

from synguard.addresses import EMBEDDING, Network, host_at
from synguard.columns import U64, ColumnTable
from synguard.detector.ban_filter import Networks, within
from synguard.detector.columns import as_judged, halves, is_ipv4, masks
from synguard.detector.dispersion import SPREAD_PREFIX

_Floats = npt.NDArray[np.float64]
_Rows = npt.NDArray[np.intp]
_Numbers = npt.NDArray[np.int64]

LEVELS: Final = ({4: 24, 6: 64}, {4: 24, 6: 56}, {4: 20, 6: 48}, SPREAD_PREFIX)
"""Prefix lengths by IP version, within which peers are taken for neighbours, narrow to wide."""
SPARE_PLACES: Final = 16
"""One in so many places is freed where all are taken, so that not every new peer costs a look at all of them."""


@dataclass(frozen=True, slots=True)
class _Table(ColumnTable):
    """One row a peer, in the order of ``key``."""

    key: U64
    high: U64
    low: U64
    since: _Floats
    """Monotonic seconds at which it was first seen …"""
    seen: _Floats
    """… and last."""

    def with_more(self, other: _Table) -> _Table:
        at = np.searchsorted(self.key, other.key)
        pairs = zip(self._columns(), other._columns(), strict=True)
        return _Table(*(np.insert(ours, at, theirs) for ours, theirs in pairs))


class ProvenPeers:
    """Remembers who completed a handshake and when, by monotonic seconds.

    ``mix`` is a secret odd number: IPv6 addresses are found by a mixed key, and two shall not share one at will. The
    key of an IPv4 address is the address, so that the peers of an IPv4 network are neighbours.
    """

    def __init__(self, lifetime_s: float, at_most: int, mix: int = 0x9E3779B97F4A7C15) -> None:
        self.limit(lifetime_s, at_most)
        self._mix = np.uint64(mix)
        nothing, never = np.empty(0, np.uint64), np.empty(0, np.float64)
        self._table = _Table(nothing, nothing, nothing, never, never)
        self._by_high: tuple[_Rows, U64] | None = None
        self._cleared_at = float("-inf")

    def limit(self, lifetime_s: float, at_most: int, embedding: Iterable[IPv6Network] = ()) -> None:
        """Remember for this long and this many from now on; further prefixes (``pref64``) embed IPv4 addresses."""
        self._lifetime_s = lifetime_s
        self._at_most = at_most
        self._embedding = (*EMBEDDING, *embedding)

    def __len__(self) -> int:
        return len(self._table)

    def add(self, peers: tuple[U64, U64], now: float) -> None:
        """Note that these addresses, as (high, low) columns, hold or held a completed connection at ``now``."""
        high, low = peers
        rows, known = self._find(high, low)
        self._table.seen[rows[known]] = now
        if not known.all():
            high, low = high[~known], low[~known]
            keys, first = np.unique(self._keys(high, low), return_index=True)
            times = np.full(len(keys), now)
            self._replace(self._table.with_more(_Table(keys, high[first], low[first], times, times.copy())))
        if len(self._table) > self._at_most or now - self._cleared_at > self._lifetime_s:
            self._forget(now)

    def seen_at(self, target: Network) -> float | None:
        """Return when a single address last proved itself, or None; wider targets prove nothing."""
        if target.prefixlen != target.max_prefixlen:
            return None
        rows = self._rows(target)
        return float(self._table.seen[rows[0]]) if len(rows) else None

    def among(self, high: U64, low: U64) -> npt.NDArray[np.bool_]:
        """Return which of these addresses (bool, one per row) are proven."""
        return self._find(high, low)[1]

    def count(self, target: Network) -> int:
        """Return how many proven addresses a network holds."""
        return len(self._rows(target))

    def inside(self, target: Network, at_most: int) -> list[Network]:
        """Return up to ``at_most`` proven addresses inside a network."""
        rows, table = self._rows(target)[:at_most], self._table
        return [host_at(int(table.high[row]), int(table.low[row])) for row in rows.tolist()]

    def columns_inside(self, target: Network) -> tuple[U64, U64]:
        """Return the proven addresses inside a network as (high, low) columns."""
        rows = self._rows(target)
        return self._table.high[rows], self._table.low[rows]

    def latest(self, at_most: int) -> list[Network]:
        """Return up to ``at_most`` addresses, those that completed a handshake last."""
        table = self._table
        rows = np.argsort(-table.seen, kind="stable")[:at_most]
        return [host_at(int(table.high[row]), int(table.low[row])) for row in rows.tolist()]

    def inside_any(self, networks: Networks) -> Iterator[Network]:
        """Yield the proven addresses inside any of many networks, whatever their ports."""
        high, low = self._table.high, self._table.low
        inside = np.zeros(len(low), np.bool_)
        for (version, prefixlen, *_), firsts in networks.items():
            inside |= within(high, low, firsts, version, prefixlen)
        for row in np.flatnonzero(inside).tolist():
            yield host_at(int(high[row]), int(low[row]))

    def _keys(self, high: U64, low: U64) -> U64:
        return low + high * self._mix

    def _find(self, high: U64, low: U64) -> tuple[_Rows, npt.NDArray[np.bool_]]:
        """Return the row of each address, and whether it is there at all."""
        table = self._table
        if not len(table):
            return np.zeros(len(low), np.intp), np.zeros(len(low), np.bool_)
        keys = self._keys(high, low)
        rows = np.minimum(np.searchsorted(table.key, keys), len(table) - 1)
        return rows, np.asarray((table.low[rows] == low) & (table.high[rows] == high), np.bool_)

    def _rows(self, target: Network) -> _Rows:
        """Return the rows inside a network, in no order; IPv4 ones are neighbours by key, those of a /64 by high."""
        table, (high, low) = self._table, halves(target)
        bits = target.max_prefixlen - target.prefixlen
        if target.version == 4:
            start = np.searchsorted(table.key, np.uint64(low), "left")
            end = np.searchsorted(table.key, np.uint64(low + (1 << bits) - 1), "right")
            neighbours: _Rows = np.arange(start, end)
            return np.asarray(neighbours[table.high[start:end] == 0], np.intp)
        order, ordered = self._sorted_by_high()
        last = high + (1 << max(bits - 64, 0)) - 1
        start = np.searchsorted(ordered, np.uint64(high), "left")
        end = np.searchsorted(ordered, np.uint64(last), "right")
        rows = order[start:end]
        if target.prefixlen > 64:
            rows = rows[(table.low[rows] & masks(6, target.prefixlen)[1]) == np.uint64(low)]
        if high:
            return rows
        return np.asarray(rows[~is_ipv4(table.high[rows], table.low[rows])], np.intp)

    def _sorted_by_high(self) -> tuple[_Rows, U64]:
        if self._by_high is None:
            order = np.argsort(self._table.high, kind="stable")
            self._by_high = order, self._table.high[order]
        return self._by_high

    def _replace(self, table: _Table) -> None:
        self._table, self._by_high = table, None

    def _forget(self, now: float) -> None:
        self._cleared_at = now
        table = self._table.where(self._table.seen >= now - self._lifetime_s)
        if len(table) > self._at_most:
            table = table.where(_seniors(table, self._at_most - self._at_most // SPARE_PLACES, self._embedding))
        self._replace(table)


def _seniors(table: _Table, places: int, embedding: Iterable[IPv6Network]) -> npt.NDArray[np.bool_]:
    """Return which rows (bool, one per row) keep a place.

    Half of the places go by age: the oldest of each /16 or /32, then the second oldest, … The other half go by network,
    however old its peers are: of each /16 or /32, of each /20 or /48 in it, and so on down to a /24 or /64, one after
    the other. So neither new peers push out the old, nor old ones of one network those of its neighbours. Of peers that
    were first seen in the same moment, as all are when an agent starts, age says nothing.
    """
    high, low = as_judged(table.high, table.low, embedding)
    order, count = np.lexsort((low, high)), len(table)
    networks = [_numbered(_networks(high, low, lengths)[order]) for lengths in LEVELS]
    age = _numbered_values(table.since[order])
    narrow = by_network = _places(networks[0], age)
    for network in networks[1:]:
        by_network = _places(network, by_network * count + age)
    by_age = _places(networks[-1], age * count + narrow)
    kept = np.zeros(count, np.bool_)
    kept[order[np.argsort(by_age * count + age)[: places // 2]]] = True
    others = np.argsort(by_network * count + age)
    kept[order[others[~kept[order[others]]][: places - places // 2]]] = True
    return kept


def _networks(high: U64, low: U64, lengths: Mapping[int, int]) -> U64:
    """Return a number for each row's network, of a length by IP version, up to 64."""
    return np.where(
        is_ipv4(high, low),
        low >> np.uint64(32 - lengths[4]) | np.uint64(1 << 63),
        high >> np.uint64(64 - lengths[6]),
    )


def _numbered(ordered: U64) -> _Numbers:
    """Return 0, 1, 2, … for each row's value, where equal ones stand together."""
    return np.cumsum(np.concatenate(([False], ordered[1:] != ordered[:-1])))


def _numbered_values(values: _Floats) -> _Numbers:
    """Return 0, 1, 2, … for each row's value, the least first."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _places(group: _Numbers, key: _Numbers) -> _Numbers:
    """Return each row's place in its group, from 0 on, by a key; groups stand together."""
    order = np.argsort(group * len(group) ** 2 + key)
    first = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
    place = np.empty(len(group), np.int64)
    place[order] = np.arange(len(group)) - np.repeat(first, np.diff(first, append=len(group)))
    return place
