"""Readings to an assessment: the one door of this package."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from synguard.detector.arrivals import Arrivals
from synguard.detector.assessment import Assessment, Dispersion, FloodFigures, ListenerPressure, Observation
from synguard.detector.columns import cut, sorting_order
from synguard.detector.counters import DROPPED, rate
from synguard.detector.counting import Held, Rows, observe, split
from synguard.detector.dispersion import dispersion
from synguard.detector.pressure import pressure_on
from synguard.model import Signal
from synguard.policy.models import Policy
from synguard.readings import CounterReading, Readings, SocketReading, SynSample, TcpState

PRESSED_LINGER_S: Final = 2.0
"""A policy stays pressed this long after its queue last overflowed, so that limits do not flap between ticks."""
RECENT_S: Final = 1.0
"""SYNs of this long are looked at together, for the flood's size and to tell a crowd from one liar."""
DISPERSION_CADENCE_S: Final = 0.2
"""Sorting a second's SYNs at every tick would cost more than all else."""
ENOUGH_TO_SPREAD: Final = 64
"""Fewer addresses than this say nothing about dispersion."""
NEARLY_FULL: Final = 0.25
"""Fill from which a listener is taken to be the one whose overflow the host-wide counters show."""


class Detector:
    """Turns each tick's readings into an assessment; keeps only what the next tick is compared with."""

    def __init__(self, policies: Sequence[Policy], seed: int) -> None:
        self.policies = tuple(policies)
        self._arrivals = Arrivals(seed)
        self._measured_at: dict[Signal, float] = {}
        self._counters: CounterReading | None = None
        self._flood = FloodFigures()
        self._pressed_until: dict[str, float] = {}
        self._recent_syns: deque[SynSample] = deque()
        self._half_open: SocketReading | None = None
        self._pressure: tuple[ListenerPressure, ...] = ()
        self._spread: Dispersion | None = None
        self._spread_due_at = float("-inf")

    def assess(self, readings: Readings, held: Held | None = None) -> Assessment:
        """Return what this tick's readings show; sensors that were not due leave their last figures standing.

        ``held`` names the networks that are banned already: prefixes are not judged by what those still send.
        """
        self._flood = self._figures(readings)
        if readings.half_open is not None:
            self._half_open = readings.half_open
            self._pressure = pressure_on(readings.listeners, readings.half_open)
        self._note_pressed(readings.at)
        elapsed: dict[Signal, float] = {}
        observations: list[Observation] = []
        for signal, rows, at in self._measured(readings):
            before = self._measured_at.get(signal)
            self._measured_at[signal] = at
            if before is not None and at > before:
                elapsed[signal] = at - before
                observations.extend(self._observe(rows, signal, readings.at, held or {}))
        return Assessment(
            at=readings.at,
            observations=tuple(observations),
            elapsed=elapsed,
            pressure=self._pressure,
            flood=self._flood,
            dispersion=self._dispersion(readings),
            pressed=self._pressed(readings.at),
            completed=_completed(readings),
        )

    def _figures(self, readings: Readings) -> FloodFigures:
        last, before = self._flood, self._counters
        half_open = last.half_open if readings.half_open is None else len(readings.half_open.table)
        connections = last.connections
        if readings.connections is not None:
            connections = int((readings.connections.table.state != TcpState.TIME_WAIT).sum())
        self._keep_recent(readings)
        window_s = sum(sample.window_s for sample in self._recent_syns)
        syns = sum(len(sample) * sample.one_in for sample in self._recent_syns)
        syn_pps = syns / window_s if window_s > 0 else 0.0
        now_known = replace(last, half_open=half_open, connections=connections, syn_pps=syn_pps)
        after = readings.counters
        if after is None:
            return now_known
        self._counters = after
        return replace(
            now_known,
            completed_pps=rate(before, after, ["PassiveOpens"]),
            cookies_sent_pps=rate(before, after, ["SyncookiesSent"]),
            cookies_received_pps=rate(before, after, ["SyncookiesRecv"]),
            dropped_pps=rate(before, after, DROPPED),
            accept_overflows_pps=rate(before, after, ["ListenOverflows"]),
        )

    def _keep_recent(self, readings: Readings) -> None:
        if readings.syns is not None:
            self._recent_syns.append(readings.syns)
        while self._recent_syns and self._recent_syns[0].at <= readings.at - RECENT_S:
            self._recent_syns.popleft()

    def _measured(self, readings: Readings) -> list[tuple[Signal, Rows, float]]:
        measured = []
        if readings.half_open is not None:
            measured.append((Signal.HALF_OPEN, self._blameable(readings.half_open), readings.half_open.at))
        if readings.syns is not None:
            syns, at = readings.syns, readings.syns.at
            weight = syns.one_in / max(syns.window_s, 1e-3)
            rows = Rows(syns.source_high, syns.source_low, syns.local_port, weight, sampled=True)
            self._measured_at[Signal.SYN_RATE] = at - syns.window_s
            measured.append((Signal.SYN_RATE, rows, at))
        if readings.connections is not None:
            measured.extend(self._connection_signals(readings.connections))
        return measured

    def _connection_signals(self, reading: SocketReading) -> list[tuple[Signal, Rows, float]]:
        table = reading.table
        open_now = table.where(table.state != TcpState.TIME_WAIT)
        signals = [
            (Signal.CONNECTIONS, Rows(open_now.remote_high, open_now.remote_low, open_now.local_port), reading.at)
        ]
        before, new = self._measured_at.get(Signal.CONNECTION_RATE), self._arrivals.new_in(table)
        self._measured_at.setdefault(Signal.CONNECTION_RATE, reading.at)
        if before is not None and new is not None and reading.at > before:
            fresh, weight = table.where(new), 1 / (reading.at - before)
            rows = Rows(fresh.remote_high, fresh.remote_low, fresh.local_port, weight)
            signals.append((Signal.CONNECTION_RATE, rows, reading.at))
        return signals

    def _blameable(self, reading: SocketReading) -> Rows:
        """Return half-open rows but for ports whose accept queue is full: there the application is at fault."""
        table = reading.table
        slow = [listener.port for listener in self._pressure if not listener.accepting]
        if slow:
            table = table.where(np.isin(table.local_port, slow, invert=True))
        return Rows(table.remote_high, table.remote_low, table.local_port)

    def _observe(self, rows: Rows, signal: Signal, now: float, held: Held) -> list[Observation]:
        pressed = self._pressed(now)
        found: list[Observation] = []
        for policy in self.policies:
            mine, rows = split(rows, policy)
            found.extend(observe(mine, policy, signal, pressed=policy.name in pressed, held=held))
        return found

    def _note_pressed(self, now: float) -> None:
        for listener in self._pressure:
            overflowing = self._flood.overflowing and listener.fill >= NEARLY_FULL
            policy = self._policy_of(listener.port)
            if policy is not None and (listener.censored or overflowing):
                self._pressed_until[policy.name] = now + PRESSED_LINGER_S

    def _pressed(self, now: float) -> frozenset[str]:
        return frozenset(name for name, until in self._pressed_until.items() if now <= until)

    def _policy_of(self, port: int) -> Policy | None:
        return next((policy for policy in self.policies if policy.judges(port)), None)

    def _dispersion(self, readings: Readings) -> Dispersion | None:
        """Return the spread of the last second's SYNs; of the half-open sockets where no SYN is sampled."""
        if readings.at >= self._spread_due_at:
            self._spread_due_at = readings.at + DISPERSION_CADENCE_S
            self._spread = self._measure_spread()
        return self._spread

    def _measure_spread(self) -> Dispersion | None:
        columns = [(sample.source_high, sample.source_low) for sample in self._recent_syns]
        if sum(map(len, self._recent_syns)) < ENOUGH_TO_SPREAD:
            if self._half_open is None or len(self._half_open.table) < ENOUGH_TO_SPREAD:
                return None
            columns = [(self._half_open.table.remote_high, self._half_open.table.remote_low)]
        return dispersion(columns)


def _completed(readings: Readings) -> tuple[tuple[int, int], ...] | None:
    columns = []
    if readings.connections is not None:
        columns.append((readings.connections.table.remote_high, readings.connections.table.remote_low))
    if readings.proven is not None:
        columns.append(readings.proven)
    if not columns:
        return None
    high = np.concatenate([column[0] for column in columns])
    low = np.concatenate([column[1] for column in columns])
    order = sorting_order(high, low)
    distinct = cut(high[order], low[order], 6, 128)
    return tuple(zip(distinct.high.tolist(), distinct.low.tolist(), strict=True))
