"""How loud everybody was in recorded traffic, signal by signal, for single sources and for prefixes.

SYNs are sampled under pressure only, which calm traffic does not make: what stands for the SYN rate is new connections.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from synguard.addresses import EMBEDDED, Network
from synguard.detector.columns import Runs, cut, families, halves, is_ipv4, masks, sorting_order
from synguard.detector.counting import AddressRows, split
from synguard.detector.new_connections import NewConnections
from synguard.model import Signal
from synguard.policy.models import Policy
from synguard.readings import Protected, Readings
from synguard.recording.shape import Moment
from synguard.replay.peaks import PeakFigures, Peaks, figures
from synguard.socket_table import TcpState

_LONGEST_S = 10.0
"""A reading never speaks for longer; after a longer pause what came before it is forgotten."""

FAMILIES: Final = (4, 6, EMBEDDED)


@dataclass(frozen=True, slots=True)
class Measured:
    """One signal at one moment: its rows, and the seconds they speak for."""

    signal: Signal
    rows: AddressRows
    at: float
    dt: float


class TrafficProfile:
    """Takes in the calm moments of recordings; one that follows another is begun with ``begin``."""

    def __init__(self, policies: Sequence[Policy], allowed: Iterable[Network] = ()) -> None:
        self._policies = tuple(policies)
        self._allowed = tuple(allowed)
        self._kinds: dict[tuple[str, Signal, int, int], Peaks] = {}
        self.calm_s = 0.0
        self.begin()

    def begin(self) -> None:
        """Forget the last recording's sockets, not its peaks."""
        self._arrivals = NewConnections(0)
        self._at: dict[Signal, float] = {}
        self._last_at: float | None = None
        self._protected: Protected | None = None
        self._spared: list[tuple[int, int, Runs]] = []
        self._pause()

    def add(self, moment: Moment, calm: bool) -> None:
        """Take in one moment; one that is not calm is only remembered, for what is new in the next."""
        if moment.protected is not self._protected:
            self._protected = moment.protected
            self._spared = _as_columns([*moment.protected.networks, *self._allowed])
        readings = moment.readings
        if calm and self._last_at is not None:
            self.calm_s += min(readings.at - self._last_at, _LONGEST_S)
        self._last_at = readings.at
        if not calm:
            self._pause()
        for measured in list(self._measured(readings)):
            if calm:
                self._add(measured)

    def sources(self, policy: Policy) -> int:
        """Return how many single sources held a connection to the policy's ports."""
        found = self.of_sources(policy, Signal.CONNECTIONS)
        return found.targets if found else 0

    def of_sources(self, policy: Policy, signal: Signal) -> PeakFigures | None:
        """Return how loud single sources were, or None where none was seen."""
        kinds = [self._kinds.get((policy.name, signal, v, policy.prefixes.lengths(v)[0])) for v in FAMILIES]
        found = [kind for kind in kinds if kind is not None]
        return figures(found, [1.0] * len(found))

    def of_prefixes(self, policy: Policy, signal: Signal) -> PeakFigures | None:
        """Return how loud prefixes were, each as what its limit for the second prefix length would have to bear."""
        kinds, scale = [], []
        for version in FAMILIES:
            lengths = policy.prefixes.lengths(version)
            for prefixlen in lengths[1:]:
                kind = self._kinds.get((policy.name, signal, version, prefixlen))
                if kind is not None:
                    kinds.append(kind)
                    scale.append(2 ** -((lengths[1] - prefixlen) / 2))
        return figures(kinds, scale)

    def _measured(self, readings: Readings) -> Iterator[Measured]:
        if readings.half_open is not None:
            yield from self._timed(
                Signal.HALF_OPEN, AddressRows.remote(readings.half_open.table), readings.half_open.at
            )
        if readings.connections is not None:
            table, at = readings.connections.table, readings.connections.at
            yield from self._timed(
                Signal.CONNECTIONS, AddressRows.remote(table.where(table.state != TcpState.TIME_WAIT)), at
            )
            before, new = self._at.get(Signal.CONNECTION_RATE), self._arrivals.new_in(table)
            self._at[Signal.CONNECTION_RATE] = at
            if before is not None and new is not None and before < at <= before + _LONGEST_S:
                yield Measured(
                    Signal.CONNECTION_RATE, AddressRows.remote(table.where(new), 1 / (at - before)), at, at - before
                )

    def _timed(self, signal: Signal, rows: AddressRows, at: float) -> Iterator[Measured]:
        before = self._at.get(signal)
        self._at[signal] = at
        if before is not None and before < at <= before + _LONGEST_S:
            yield Measured(signal, rows, at, at - before)

    def _add(self, measured: Measured) -> None:
        rows = self._without_spared(measured.rows)
        for policy in self._policies:
            mine, rows = split(rows, policy)
            self._note(policy, measured.signal, mine, measured)
            if measured.signal is Signal.CONNECTION_RATE:
                self._note(policy, Signal.SYN_RATE, mine, measured)

    def _note(self, policy: Policy, signal: Signal, rows: AddressRows, measured: Measured) -> None:
        for version, chosen in families(rows.high, rows.low, policy.prefixes.embedding):
            for prefixlen, runs, value in _rolled_up(rows.where(chosen), policy, version):
                kind = self._kind(policy, signal, version, prefixlen)
                kind.add(measured.at, measured.dt, runs.high, runs.low, value)

    def _kind(self, policy: Policy, signal: Signal, version: int, prefixlen: int) -> Peaks:
        key = (policy.name, signal, version, prefixlen)
        if key not in self._kinds:
            self._kinds[key] = Peaks(policy.hold.of(signal), version, prefixlen)
        return self._kinds[key]

    def _without_spared(self, rows: AddressRows) -> AddressRows:
        spared = np.zeros(len(rows.port), np.bool_)
        ipv4 = is_ipv4(rows.high, rows.low)
        for version, prefixlen, networks in self._spared:
            high_mask, low_mask = masks(version, prefixlen)
            inside = np.isin(rows.high & high_mask, networks.high) & np.isin(rows.low & low_mask, networks.low)
            spared |= inside & (ipv4 == (version == 4))
        return rows.where(~spared) if spared.any() else rows

    def _pause(self) -> None:
        for kind in self._kinds.values():
            kind.pause()


def _rolled_up(
    rows: AddressRows, policy: Policy, version: int
) -> Iterator[tuple[int, Runs, np.ndarray[tuple[int], np.dtype[np.float64]]]]:
    """Yield (prefix length, targets, values): sources first, then prefixes with enough sources to be judged."""
    lengths = policy.prefixes.lengths(version)
    order = sorting_order(rows.high, rows.low)
    runs = cut(rows.high[order], rows.low[order], version, lengths[0])
    value = np.asarray((runs.end - runs.start) * rows.weight, np.float64)
    sources = np.ones(len(runs), np.int64)
    yield lengths[0], runs, value
    for _, prefixlen in pairwise(lengths):
        parents = cut(runs.high, runs.low, version, prefixlen)
        value, sources = np.add.reduceat(value, parents.start), np.add.reduceat(sources, parents.start)
        runs = parents
        enough = sources >= policy.prefixes.sources_for(prefixlen, version)
        judged = Runs(runs.high[enough], runs.low[enough], runs.start[enough], runs.end[enough])
        yield prefixlen, judged, value[enough]


def _as_columns(networks: Iterable[Network]) -> list[tuple[int, int, Runs]]:
    by_width: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for network in networks:
        by_width.setdefault((network.version, network.prefixlen), []).append(halves(network))
    nothing = np.empty(0, np.intp)
    columns = {width: np.array(values, np.uint64) for width, values in by_width.items()}
    return [(*width, Runs(both[:, 0], both[:, 1], nothing, nothing)) for width, both in columns.items()]
