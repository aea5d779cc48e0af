"""Readings to an assessment: the entry of this package."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from synguard.detector.assessment import Assessment, Dispersion, FloodFigures, ListenerPressure, Observation
from synguard.detector.ban_filter import BanFilter
from synguard.detector.counting import AddressRows, observe, split
from synguard.detector.cpu import CpuWindow
from synguard.detector.dispersion import EVERYWHERE, dispersion
from synguard.detector.fingerprint import SAME_HEADER_SHARE, headers
from synguard.detector.full_services import FullServices
from synguard.detector.handshakes import HandshakeWindow
from synguard.detector.lowered_limits import PressedPorts, gravest
from synguard.detector.members import Crowd, SortedRows, Weighted
from synguard.detector.new_connections import NewConnections
from synguard.detector.overflow import OverflowWindow
from synguard.detector.peers import completed
from synguard.detector.pressure import pressure_on
from synguard.detector.rates import handshake_rates
from synguard.detector.recent_sources import RecentSources
from synguard.detector.syn_rows import syn_rows
from synguard.detector.unsampled import UnsampledWindow
from synguard.model import Signal
from synguard.policy.models import Policy
from synguard.readings import CounterReading, Readings, SocketReading, SynSample
from synguard.socket_table import SocketTable, TcpState

RECENT_S: Final = 1.0
"""SYNs of this long are looked at together, for the flood's size and to tell a crowd from forged sources."""
DISPERSION_CADENCE_S: Final = 0.2
"""Sorting a second's SYNs at every tick would cost more than all else."""
ENOUGH_TO_SPREAD: Final = 64
"""Fewer addresses than this say nothing about dispersion."""


class Detector:  # wide: what must be remembered between two ticks, a name each
    """Turns each tick's readings into an assessment; keeps only what the next tick is compared with."""

    def __init__(self, policies: Sequence[Policy], seed: int) -> None:
        self.policies = tuple(policies)
        self._embedding = sorted({prefix for policy in policies for prefix in policy.prefixes.embedding})
        self._arrivals = NewConnections(seed)
        self._recent_sources = RecentSources(seed)
        self._measured_at: dict[Signal, float] = {}
        self._counters: CounterReading | None = None
        self._handshakes = HandshakeWindow()
        self._cpu = CpuWindow()
        self._overflow = OverflowWindow()
        self._unsampled = UnsampledWindow()
        self._flood = FloodFigures()
        self._held_pps = self._shown_pps = 0.0
        self._pressed = PressedPorts()
        self._services = FullServices()
        self._recent_syns: deque[SynSample] = deque()
        self._half_open: SocketReading | None = None
        self._pressure: tuple[ListenerPressure, ...] = ()
        self._spread: Dispersion | None = None
        self._crowds: dict[Signal, SortedRows] = {}
        self._spread_due_at = float("-inf")

    def assess(self, readings: Readings, ban_filter: BanFilter | None = None) -> Assessment:
        """Return what this tick's readings show; sensors that were not due leave their last figures standing.

        What comes from networks that are ``ban_filter`` already is not judged again, whatever they still send.
        """
        ban_filter = ban_filter or BanFilter()
        self._held_pps = 0.0 if readings.syns is not None else self._held_pps
        self._flood = self._figures(readings)
        if readings.half_open is not None:
            self._half_open = readings.half_open
            self._pressure = pressure_on(readings.listeners, readings.half_open)
            self._services.follow_pressure(self._pressure, readings.at)
        self._pressed.follow(self._pressure, readings.at, overflowing=self._flood.overflowing)
        spread = self._dispersion(readings, ban_filter)
        suffering = self._flood.overflowing or any(listener.overwhelmed for listener in self._pressure)
        elapsed: dict[Signal, float] = {}
        observations: list[Observation] = []
        for signal, rows, at in self._measured(readings):
            before = self._measured_at.get(signal)
            self._measured_at[signal] = at
            self._crowds[signal] = SortedRows(self._recent if signal is Signal.SYN_RATE else rows.weighted)
            if before is not None and at > before:
                elapsed[signal] = at - before
                observations += self._observe(rows, signal, readings.at, ban_filter) if len(rows.low) else ()
        handshakes = self._handshakes.follow(readings.counters, readings.at, suffering=suffering)
        return Assessment(
            at=readings.at,
            observations=tuple(observations),
            elapsed=elapsed,
            pressure=self._pressure,
            flood=replace(
                self._flood,
                held_pps=self._held_pps if self._recent_syns else 0.0,
                unseen_pps=max(handshakes.completed_pps - self._shown_pps, 0.0),
            ),
            dispersion=spread,
            unsampled_pps=self._unsampled.follow(readings.counters, readings.syns),
            handshakes=handshakes,
            bottleneck=self._cpu.follow(readings.cpu),
            pressed=self._pressed.at(readings.at),
            crowded=self._services.crowded,
            held_by_few=self._services.held_by_few,
            port_mapping=readings.port_mapping,
            recent_syns=tuple(self._recent_syns),
            crowds={
                signal: Crowd(rows, ban_filter, signal.forgeable)
                for signal, rows in self._crowds.items()
                if signal is not Signal.SYN_RATE or self._recent_syns
            },
            completed=completed(readings),
        )

    def rested(self, at: float) -> None:
        """Note that until ``at`` hardly a socket was half-open: what the next tick finds has not lasted any longer."""
        if Signal.HALF_OPEN in self._measured_at:
            self._measured_at[Signal.HALF_OPEN] = at

    def _figures(self, readings: Readings) -> FloodFigures:
        last, before = self._flood, self._counters
        half_open = last.half_open if readings.half_open is None else len(readings.half_open.table)
        connections = last.connections
        if readings.connections is not None:
            connections = int((readings.connections.table.state != TcpState.TIME_WAIT).sum())
        self._keep_recent(readings)
        now_known = replace(last, half_open=half_open, connections=connections, syn_pps=self._syn_pps())
        after = readings.counters
        if after is None:
            return now_known
        self._counters = after
        return replace(
            now_known,
            counted=True,
            **handshake_rates(before, after),
            overflow_pps=self._overflow.follow(after),
        )

    def _syn_pps(self) -> float:
        window_s = sum(sample.window_s for sample in self._recent_syns)
        syns = sum(sample.kept * sample.one_in for sample in self._recent_syns)
        return syns / window_s if window_s > 0 else 0.0

    def _keep_recent(self, readings: Readings) -> None:
        if readings.syns is not None:
            self._recent_syns.append(readings.syns)
        while self._recent_syns and self._recent_syns[0].at <= readings.at - RECENT_S:
            self._recent_syns.popleft()

    def _recent(self) -> Weighted:
        """Return the SYNs of the last second, each worth its share of a second's rate."""
        samples = tuple(self._recent_syns)
        window_s = max(sum(sample.window_s for sample in samples), 1e-3)
        rows = [syn_rows(sample).weighted() for sample in samples]
        high, low, port, weight = (np.concatenate(columns) for columns in zip(*rows, strict=True))
        windows = np.repeat([max(sample.window_s, 1e-3) for sample in samples], [len(sample) for sample in samples])
        return high, low, port, weight * windows / window_s

    def _measured(self, readings: Readings) -> list[tuple[Signal, AddressRows, float]]:
        measured = []
        if readings.half_open is not None:
            measured.append((Signal.HALF_OPEN, self._blameable(readings.half_open), readings.half_open.at))
        if readings.syns is not None:
            self._measured_at[Signal.SYN_RATE] = readings.syns.at - readings.syns.window_s
            measured.append((Signal.SYN_RATE, syn_rows(readings.syns), readings.syns.at))
        if readings.connections is not None:
            measured.extend(self._connection_signals(readings.connections, readings.ended))
        return measured

    def _connection_signals(
        self, reading: SocketReading, ended: SocketTable | None
    ) -> list[tuple[Signal, AddressRows, float]]:
        table = reading.table
        open_now = table.where(table.state != TcpState.TIME_WAIT)
        signals = [(Signal.CONNECTIONS, AddressRows.remote(open_now), reading.at)]
        known_before = self._arrivals.known
        before, new = self._measured_at.get(Signal.CONNECTION_RATE), self._arrivals.new_in(table)
        self._measured_at.setdefault(Signal.CONNECTION_RATE, reading.at)
        if before is not None and new is not None and reading.at > before:
            fresh, weight = table.where(new), 1 / (reading.at - before)
            self._shown_pps = len(fresh) * weight
            short = None if ended is None else ended.where(self._arrivals.unseen(ended, known_before))
            self._services.follow_ended(short, reading.at)
            if short is not None:
                fresh = SocketTable.joined([fresh, short])
            signals.append((Signal.CONNECTION_RATE, AddressRows.remote(fresh, weight), reading.at))
        return signals

    def _blameable(self, reading: SocketReading) -> AddressRows:
        """Return half-open rows but for ports whose accept queue is full: there the application is at fault."""
        table = reading.table
        slow = [listener.port for listener in self._pressure if not listener.accepting]
        if slow:
            table = table.where(np.isin(table.local_port, slow, invert=True))
        return AddressRows.remote(table)

    def _observe(self, rows: AddressRows, signal: Signal, now: float, ban_filter: BanFilter) -> list[Observation]:
        stopped = ban_filter.stops(rows.high, rows.low, rows.port, forgeable=signal.forgeable)
        if signal is Signal.SYN_RATE:
            self._held_pps = float(rows.count[stopped].sum()) * rows.weight
        rows = rows.where(~stopped)
        found: list[Observation] = []
        for policy in self.policies:
            mine, rows = split(rows, policy)
            if signal.forgeable:
                found.extend(self._by_pressure(mine, policy, signal, now))
            else:
                found.extend(observe(mine, policy, signal, pressed=False))
            if signal is Signal.CONNECTIONS:
                found.extend(self._services.observe(mine, policy))
        return list(gravest(found))

    def _by_pressure(self, rows: AddressRows, policy: Policy, signal: Signal, now: float) -> list[Observation]:
        """Return what comes to pressed ports, by lowered limits, and what comes to the others, by the usual ones."""
        pressed = np.isin(rows.port, list(self._pressed.at(now)))
        found: list[Observation] = []
        for under_pressure, chosen in ((True, pressed), (False, ~pressed)):
            if chosen.any():
                found += observe(
                    rows.where(chosen),
                    policy,
                    signal,
                    pressed=under_pressure,
                    tool=self._tool(),
                    recent_sources=self._recent_sources,
                )
        return found

    def _tool(self) -> int | None:
        """Return the header that most networks send, None where they send different ones."""
        spread = self._spread
        if spread is None or spread.fingerprint is None or spread.networks < EVERYWHERE:
            return None
        return spread.fingerprint.header if spread.fingerprint.share >= SAME_HEADER_SHARE else None

    def _dispersion(self, readings: Readings, ban_filter: BanFilter) -> Dispersion | None:
        """Return the spread of the last second's SYNs; of the half-open sockets where no SYN is sampled."""
        begins = readings.syns is not None and len(self._recent_syns) <= 2  # until then half-open sockets were all
        if begins or readings.at >= self._spread_due_at:
            self._spread_due_at, self._spread = readings.at + DISPERSION_CADENCE_S, self._measure_spread(ban_filter)
        return self._spread

    def _measure_spread(self, ban_filter: BanFilter) -> Dispersion | None:
        """Return the spread of what is not banned: what a ban holds says nothing of those who still get through."""
        recent = self._recent_syns
        if sum(sample.kept for sample in recent) >= ENOUGH_TO_SPREAD:
            high = np.concatenate([sample.source_high for sample in recent])
            low = np.concatenate([sample.source_low for sample in recent])
            port = np.concatenate([sample.local_port for sample in recent])
            header = np.concatenate([headers(sample) for sample in recent])
            count = np.concatenate([sample.count for sample in recent])
            all_syns, stopped = max(count.sum(), 1), ban_filter.stops(high, low, port, forgeable=True)
            if stopped.any():
                high, low, port, header, count = (column[~stopped] for column in (high, low, port, header, count))
            pps = self._syn_pps() * float(count.sum() / all_syns)
            return dispersion(high, low, port, headers=header, pps=pps, count=count, embedding=self._embedding)
        if self._half_open is None or len(self._half_open.table) < ENOUGH_TO_SPREAD:
            return None
        table = self._half_open.table
        table = table.where(~ban_filter.stops(table.remote_high, table.remote_low, table.local_port, forgeable=True))
        return dispersion(table.remote_high, table.remote_low, table.local_port, embedding=self._embedding)
