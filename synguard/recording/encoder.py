"""Readings to bytes. Pure: no file, no clock.

A tick is one line of JSON and then rows as ``columns`` writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from synguard.readings import (
    U32,
    CounterReading,
    Listener,
    Protected,
    Readings,
    SocketReading,
    SynSample,
)
from synguard.recording.columns import Differ, pack
from synguard.recording.heads import (
    MOST_ROWS,
    CountersHead,
    ListenerHead,
    ProtectedHead,
    SynsHead,
    TableHead,
    TickHead,
)
from synguard.recording.shape import LEFT_OUT, LISTENER, NAMESPACE, SOCKETS, columns_written, is_recorded


class Encoder:
    """Turns ticks into bytes, each as its difference from those before."""

    def __init__(self) -> None:
        tables = columns_written()
        self._syns = tables["syns"]
        self._half_open, self._connections = Differ(tables["sockets"]), Differ(tables["sockets"])
        self._proven = Differ(tables["addresses"])
        self._counters: Mapping[str, int] = {}
        self._listeners: tuple[Listener, ...] = ()
        self._doors: Mapping[int, tuple[int, ...]] = {}
        self._protected: Protected | None = None
        self._namespaces = {"": 0}

    def write(self, readings: Readings, protected: Protected) -> bytes:
        """Return one tick."""
        body: list[bytes] = []
        known = len(self._namespaces)
        head = TickHead.model_construct(
            at=readings.at,
            half_open=self._sockets(readings.half_open, self._half_open, readings.at, body),
            connections=self._sockets(readings.connections, self._connections, readings.at, body),
            proven=self._peers(readings, body),
            syns=self._sample(readings.syns, body),
            counters=self._changed(readings.counters, readings.at),
            listeners=self._listening(readings.listeners),
            protected=self._protect(protected),
            doors=self._changed_doors(readings.doors),
            namespaces=tuple(map(_text, list(self._namespaces)[known:])),
            failures={name: _text(why) for name, why in readings.failures.items()},
        )
        return head.model_dump_json(exclude_defaults=True).encode() + b"\n" + b"".join(body)

    def _sockets(self, reading: SocketReading | None, differ: Differ, at: float, body: list[bytes]) -> TableHead | None:
        if reading is None:
            return None
        kept = reading.table.head(MOST_ROWS)
        columns = {name: getattr(kept, name) for name in SOCKETS if name not in LEFT_OUT}
        new, rows = differ.write(columns | {NAMESPACE: self._numbers(reading)[:MOST_ROWS]})
        body.append(rows)
        lost = len(reading.table) - len(kept)
        return TableHead(new=new, lost=lost, at=_unless(reading.at, at), source=reading.source)

    def _numbers(self, reading: SocketReading) -> U32:
        numbers = np.zeros(len(reading.table), np.uint32)
        for span in reading.spans:
            numbers[span.start : span.stop] = self._namespaces.setdefault(span.namespace, len(self._namespaces))
        return numbers

    def _peers(self, readings: Readings, body: list[bytes]) -> TableHead | None:
        if readings.proven is None:
            return None
        high, low = readings.proven
        new, rows = self._proven.write({"high": high[:MOST_ROWS], "low": low[:MOST_ROWS]})
        body.append(rows)
        return TableHead(new=new, lost=max(len(high) - MOST_ROWS, 0))

    def _sample(self, sample: SynSample | None, body: list[bytes]) -> SynsHead | None:
        if sample is None:
            return None
        order = np.lexsort((sample.local_port, sample.source_low, sample.source_high))  # like stands by like
        order = np.sort(order[:MOST_ROWS]) if len(order) > MOST_ROWS else order
        body.append(pack({name: getattr(sample, name)[order] for name in self._syns}, self._syns))
        plain = {item.name: getattr(sample, item.name) for item in fields(SynSample) if item.name not in self._syns}
        return SynsHead(rows=len(order), lost=len(sample) - len(order), plain=plain)

    def _changed(self, reading: CounterReading | None, at: float) -> CountersHead | None:
        if reading is None:
            return None
        before, now = self._counters, {name: n for name, n in reading.values.items() if is_recorded(name)}
        changed: dict[str, int | None] = {name: n for name, n in now.items() if before.get(name) != n}
        changed |= dict.fromkeys(before.keys() - now.keys())
        self._counters = now
        return CountersHead(values=changed, at=_unless(reading.at, at))

    def _listening(self, listeners: tuple[Listener, ...]) -> tuple[ListenerHead, ...] | None:
        if listeners == self._listeners:
            return None
        self._listeners = listeners
        return tuple(
            ListenerHead.model_construct(**{name: _plain(getattr(one, name)) for name in LISTENER}) for one in listeners
        )

    def _changed_doors(self, doors: Mapping[int, tuple[int, ...]]) -> dict[int, tuple[int, ...]] | None:
        if doors == self._doors:
            return None
        self._doors = doors
        return dict(doors)

    def _protect(self, protected: Protected) -> ProtectedHead | None:
        if protected == self._protected:
            return None
        self._protected = protected
        networks = {network: _text(why) for network, why in protected.networks.items()}
        return ProtectedHead.model_construct(networks=networks, problems=tuple(map(_text, protected.problems)))


def _unless(value: float, other: float) -> float | None:
    return None if value == other else value


def _plain(value: Any) -> Any:
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    """Return text that UTF-8 can hold: names of processes may be any bytes."""
    return text.encode("utf-8", "replace").decode("utf-8")
