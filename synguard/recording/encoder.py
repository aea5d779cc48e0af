"""Readings to bytes. Pure: no file, no clock.

A tick is one line of JSON, which ``heads.TickHead`` reads back, and then rows as ``columns`` writes them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import numpy as np

from synguard.columns import U32
from synguard.readings import CounterReading, Protected, Readings, SocketReading, SynSample
from synguard.recording.columns import Differ, pack
from synguard.recording.heads import MOST_ROWS
from synguard.recording.shape import LEFT_OUT, NAMESPACE, SOCKETS, SYNS_LEFT_OUT, columns_written, is_recorded
from synguard.socket_table import SocketTable

Head = dict[str, Any] | None


class Encoder:
    """Turns ticks into bytes, each as its difference from those before."""

    def __init__(self) -> None:
        tables = columns_written()
        self._syns = tables["syns"]
        self._half_open, self._connections = Differ(tables["sockets"]), Differ(tables["sockets"])
        self._ended = Differ(tables["sockets"])
        self._proven = Differ(tables["addresses"])
        self._counters: dict[str, int] = {}
        self._last: dict[str, Any] = {"listeners": (), "port_mapping": {}}
        self._namespaces = {"": 0}

    def write(self, readings: Readings, protected: Protected) -> bytes:
        """Return one tick."""
        body: list[bytes] = []
        known = len(self._namespaces)
        head = {
            "at": readings.at,
            "half_open": self._sockets(readings.half_open, self._half_open, readings.at, body),
            "connections": self._sockets(readings.connections, self._connections, readings.at, body),
            "ended": self._sockets(_as_reading(readings.ended, readings.at), self._ended, readings.at, body),
            "proven": self._peers(readings, body),
            "syns": self._sample(readings.syns, body),
            "counters": self._changed(readings.counters, readings.at),
            "listeners": self._if_new("listeners", readings.listeners),
            "protected": self._protect(protected),
            "port_mapping": self._if_new("port_mapping", dict(readings.port_mapping)),
            "namespaces": list(self._namespaces)[known:] or None,
            "failures": readings.failures or None,
        }
        told = {name: value for name, value in head.items() if value is not None}
        line = json.dumps(told, default=_plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return line.encode("utf-8", "replace") + b"\n" + b"".join(body)  # names of processes may be any bytes

    def _sockets(self, reading: SocketReading | None, differ: Differ, at: float, body: list[bytes]) -> Head:
        if reading is None:
            return None
        kept = reading.table.head(MOST_ROWS)
        columns = {name: getattr(kept, name) for name in SOCKETS if name not in LEFT_OUT}
        new, rows = differ.write(columns | {NAMESPACE: self._numbers(reading)[:MOST_ROWS]})
        body.append(rows)
        lost = len(reading.table) - len(kept)
        return {"new": new, "source": reading.source} | _unless(lost=(lost, 0), at=(reading.at, at))

    def _numbers(self, reading: SocketReading) -> U32:
        numbers = np.zeros(len(reading.table), np.uint32)
        for span in reading.spans:
            numbers[span.start : span.stop] = self._namespaces.setdefault(span.namespace, len(self._namespaces))
        return numbers

    def _peers(self, readings: Readings, body: list[bytes]) -> Head:
        if readings.proven is None:
            return None
        high, low = readings.proven
        new, rows = self._proven.write({"high": high[:MOST_ROWS], "low": low[:MOST_ROWS]})
        body.append(rows)
        return {"new": new} | _unless(lost=(max(len(high) - MOST_ROWS, 0), 0))

    def _sample(self, sample: SynSample | None, body: list[bytes]) -> Head:
        if sample is None:
            return None
        order = np.lexsort((sample.local_port, sample.source_low, sample.source_high))  # like stands by like
        order = np.sort(order[:MOST_ROWS]) if len(order) > MOST_ROWS else order
        body.append(pack({name: getattr(sample, name)[order] for name in self._syns}, self._syns))
        left = {*self._syns, SYNS_LEFT_OUT}
        plain = {item.name: getattr(sample, item.name) for item in fields(SynSample) if item.name not in left}
        return {"rows": len(order), "plain": plain} | _unless(lost=(len(sample) - len(order), 0))

    def _changed(self, reading: CounterReading | None, at: float) -> Head:
        if reading is None:
            return None
        before, now = self._counters, {name: n for name, n in reading.values.items() if is_recorded(name)}
        changed: dict[str, int | None] = {name: n for name, n in now.items() if before.get(name) != n}
        changed |= dict.fromkeys(before.keys() - now.keys())
        self._counters = now
        return {"values": changed} | _unless(at=(reading.at, at))

    def _protect(self, protected: Protected) -> Head:
        if self._if_new("protected", protected) is None:
            return None
        networks = {str(network): why for network, why in protected.networks.items()}
        containers = {str(network): why for network, why in protected.never_cut_off.items()}
        return {"networks": networks, "problems": protected.problems, "never_cut_off": containers}

    def _if_new(self, name: str, value: Any) -> Any:
        """Return what lasts from tick to tick where it is another than it was, else None."""
        if self._last.get(name) == value:
            return None
        self._last[name] = value
        return value


def _unless(**usual: tuple[float, float]) -> dict[str, float]:
    """Return the values that are not what a reader takes for granted."""
    return {name: value for name, (value, granted) in usual.items() if value != granted}


def _plain(value: Any) -> Any:
    """Return a listener as a mapping, an address as text, a number of numpy's as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, IPv4Address | IPv6Address) else asdict(value)


def _as_reading(table: SocketTable | None, at: float) -> SocketReading | None:
    return None if table is None else SocketReading(at, table, "sock_diag")
