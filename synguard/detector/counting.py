"""Rows to observations: counts by source, rolled up the prefix tree, against a policy's limits.

A child over its own limit answers for itself: its share is taken out of what its prefix is judged by, so a loud
address never makes offenders of its quiet neighbours. What is left must come from ``min_sources`` distinct sources, and
from more of them the wider the prefix is. Sources that are banned already are not counted at all (`held`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.ma  # np.unique would import it at its first call: 20 ms, in the midst of a flood
import numpy.typing as npt

from synguard.columns import U16, U64
from synguard.detector.assessment import Observation
from synguard.detector.columns import Runs, cut, families, in_ranges, is_ipv4, network_at, sorting_order
from synguard.detector.members import Weighted
from synguard.detector.recent_sources import RecentSources
from synguard.model import Signal
from synguard.policy.models import Policy
from synguard.socket_table import SocketTable

FLOOR: Final = 0.5
"""Share of a limit below which a target is not reported: its score could not grow."""
MOST_REPORTED: Final = 4096
"""Targets reported per signal, policy, family and width; bounds the engine's work whatever arrives."""
MOST_PORTS: Final = 15
"""More attacked ports than this are all ports: 15 is also what one iptables multiport match can hold."""

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class AddressRows:
    """What is counted: one row a socket or sampled SYN, each worth ``weight`` (dimension of the signal)."""

    high: U64
    low: U64
    port: U16
    weight: float = 1.0
    sampled: bool = False
    """Whether a row stands for ``weight`` others that were not looked at."""
    weight6: float | None = None
    """Of IPv6 rows, where that differs."""
    header: U64 | None = None
    """What each SYN's header comes to, as ``fingerprint.headers`` has it."""
    at: float = 0.0
    """Monotonic seconds of the reading."""
    counted: Counts | None = None
    """How many each row is, where that is not one."""
    of_banned: int = 1
    """How many a single look at a banned source is taken for."""

    @classmethod
    def remote(cls, table: SocketTable, weight: float = 1.0) -> AddressRows:
        """Return the remote ends of sockets, at the local ports, each worth ``weight``."""
        return cls(table.remote_high, table.remote_low, table.local_port, weight)

    @property
    def count(self) -> Counts:
        """How many sockets or sampled SYNs each row is."""
        return np.ones(len(self.low), np.int64) if self.counted is None else self.counted

    def where(self, mask: Bools) -> AddressRows:
        """Return the rows where ``mask`` (bool, one per row) is true."""
        header = None if self.header is None else self.header[mask]
        counted = None if self.counted is None else self.counted[mask]
        high, low, port = self.high[mask], self.low[mask], self.port[mask]
        return replace(self, high=high, low=low, port=port, header=header, counted=counted)

    def with_others(self, others: AddressRows) -> AddressRows:
        """Return sockets of both, one a row."""
        return AddressRows(
            np.concatenate([self.high, others.high]),
            np.concatenate([self.low, others.low]),
            np.concatenate([self.port, others.port]),
        )

    def weighted(self) -> Weighted:
        """Return the rows with what each is worth."""
        six = self.weight if self.weight6 is None else self.weight6
        each = np.where(is_ipv4(self.high, self.low), self.weight, six)
        return self.high, self.low, self.port, each if self.counted is None else each * self.counted

    def of_version(self, version: int, mask: Bools) -> AddressRows:
        """Return the rows of one IP version, which ``mask`` picks, with their weight."""
        weight = self.weight if version == 4 or self.weight6 is None else self.weight6
        return replace(self.where(mask), weight=weight)


def observe(
    rows: AddressRows,
    policy: Policy,
    signal: Signal,
    *,
    pressed: bool,
    tool: int | None = None,
    recent_sources: RecentSources | None = None,
) -> list[Observation]:
    """Return the targets among a policy's rows whose count comes near its limit, both families, every prefix length.

    ``tool`` is the header that most of the flood's networks send, if there is one. With ``recent_sources``, a source of
    which a single row was sampled is reported only if it was met before.
    """
    if policy.limits.of(signal) is None and policy.prefix_limits.of(signal) is None:
        return []
    found: list[Observation] = []
    for family, chosen in families(rows.high, rows.low, policy.prefixes.embedding):
        mine = rows.of_version(family, chosen)
        found.extend(_Tree(mine, policy, signal, family, pressed, tool, recent_sources).observations())
    return found


def split(rows: AddressRows, policy: Policy) -> tuple[AddressRows, AddressRows]:
    """Return the rows whose port the policy judges, and the others."""
    judged = in_ranges(rows.port, policy.port_ranges)
    return rows.where(judged), rows.where(~judged)


class _Tree:
    """One family's rows under one policy, sorted once and cut at each prefix length in turn."""

    def __init__(  # private, called once
        self,
        rows: AddressRows,
        policy: Policy,
        signal: Signal,
        version: int,
        pressed: bool,
        tool: int | None,
        recent_sources: RecentSources | None,
    ) -> None:
        self._tool, self._recent_sources = tool, recent_sources
        order = sorting_order(rows.high, rows.low)
        self._high, self._low, self._port = rows.high[order], rows.low[order], rows.port[order]
        self._header = None if rows.header is None else rows.header[order]
        self._counted = None if rows.counted is None else rows.counted[order]
        self._rows, self._policy, self._signal, self._version = rows, policy, signal, version
        self._pressed = policy.pressed if pressed and signal.forgeable else 1.0

    def observations(self) -> Iterator[Observation]:
        lengths = self._policy.prefixes.lengths(self._version)
        runs = cut(self._high, self._low, self._version, lengths[0])
        count = runs.sums(self._counted)
        value: Floats = np.asarray(count * self._rows.weight, np.float64)
        sources = np.ones(len(runs), np.int64)
        limit = self._limit(lengths[0])
        over = self._over(value, limit)
        yield from self._report(
            runs, np.where(self._telling(runs, count, lengths[0]), value, 0.0), sources, limit, lengths[0]
        )
        for prefixlen in lengths[1:]:
            value, sources = np.where(over, 0.0, value), np.where(over, 0, sources)
            parents = cut(runs.high, runs.low, self._version, prefixlen)
            value, sources = np.add.reduceat(value, parents.start), np.add.reduceat(sources, parents.start)
            runs = Runs(parents.high, parents.low, runs.start[parents.start], runs.end[parents.end - 1])
            limit = self._limit(prefixlen)
            enough = sources >= self._policy.prefixes.sources_for(prefixlen, self._version)
            over = self._over(value, limit) & enough
            yield from self._report(runs, np.where(enough, value, 0.0), sources, limit, prefixlen)

    def _telling(self, runs: Runs, count: Counts, prefixlen: int) -> Bools:
        """Return which sources a rate can be told of: those that were seen more than once, now or lately."""
        if self._recent_sources is None or not self._rows.sampled:
            return np.ones(len(runs), np.bool_)
        several = np.asarray((count > 1) & (count != self._rows.of_banned), np.bool_)
        return several | self._recent_sources.met(runs.high, runs.low, prefixlen, self._rows.at)

    def _limit(self, prefixlen: int) -> float:
        """Return the limit as it applies now; infinite where the signal is not judged at this width."""
        limit = self._policy.limit_of(self._signal, prefixlen, self._version)
        return float("inf") if limit is None else limit * self._pressed

    def _over(self, value: Floats, limit: float) -> Bools:
        """Return which values pass the limit; of sampled ones, those that pass it by two standard errors."""
        doubt = 2 * np.sqrt(self._variance(value)) if self._rows.sampled else 0.0
        return np.asarray(value - doubt > limit, np.bool_)

    def _variance(self, value: Floats) -> Floats:
        """Return the variance of sampled values; those of whole looks at banned sources are the coarser by as much."""
        weight, of_banned = self._rows.weight, self._rows.of_banned
        if of_banned == 1:
            return value * weight
        return value * weight * np.where(np.rint(value / weight) % of_banned == 0, of_banned, 1)

    def _report(
        self, runs: Runs, value: Floats, sources: npt.NDArray[np.int64], limit: float, prefixlen: int
    ) -> Iterator[Observation]:
        near = np.flatnonzero(value >= limit * FLOOR)
        if len(near) > MOST_REPORTED:
            near = near[np.argpartition(value[near], -MOST_REPORTED)[-MOST_REPORTED:]]
        variance = self._variance(value[near]).tolist() if self._rows.sampled else [0.0] * len(near)
        for i, variance_of_it in zip(near.tolist(), variance, strict=True):
            amount = float(value[i])
            yield Observation(
                policy=self._policy.name,
                target=network_at(int(runs.high[i]), int(runs.low[i]), self._version, prefixlen),
                signal=self._signal,
                value=amount,
                limit=limit,
                ports=self._ports(int(runs.start[i]), int(runs.end[i])),
                sources=int(sources[i]),
                addresses=self._addresses(int(runs.start[i]), int(runs.end[i])),
                variance=variance_of_it,
                alike=self._alike(int(runs.start[i]), int(runs.end[i])),
            )

    def _alike(self, start: int, end: int) -> float | None:
        if self._header is None or self._tool is None:
            return None
        alike = self._header[start:end] == self._tool
        count = np.ones(end - start, np.int64) if self._counted is None else self._counted[start:end]
        return float(count[alike].sum() / count.sum())

    def _addresses(self, start: int, end: int) -> int:
        high, low = self._high[start:end], self._low[start:end]
        if end - start == 1 or (high[0], low[0]) == (high[-1], low[-1]):  # sorted, so all of them are the same one
            return 1
        return len(cut(high, low, 6, 128))

    def _ports(self, start: int, end: int) -> tuple[int, ...]:
        mine = self._port[start:end]
        if len(mine) == 1 or (mine == mine[0]).all():  # nearly always, and ten times as quick
            return (int(mine[0]),)
        ports = np.unique(mine)
        return tuple(ports.tolist()) if len(ports) <= MOST_PORTS else ()
