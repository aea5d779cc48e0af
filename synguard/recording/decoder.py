"""Bytes back to readings; any bytes give readings or one kind of error. Pure: no file, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from datetime import datetime, timedelta
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from synguard.addresses import unmapped, unmapped_network
from synguard.columns import U32
from synguard.readings import CounterReading, Listener, NamespaceSpan, Protected, Readings, SocketReading, SynSample
from synguard.recording.columns import Bytes, Columns, DamagedError, Joiner, Kinds, length, unpack
from synguard.recording.heads import (
    MOST_ROWS,
    CountersHead,
    FileHead,
    ListenerHead,
    ProtectedHead,
    SynsHead,
    TableHead,
    TickHead,
)
from synguard.recording.shape import LISTENER, NAMESPACE, SOCKETS, SYNS, Moment
from synguard.socket_table import SocketTable

_Model = TypeVar("_Model", bound=BaseModel)


class Decoder:
    """Turns bytes back into ticks; any bytes give a tick or ``DamagedError``."""

    def __init__(self, head: FileHead) -> None:
        self._head = head
        sockets, self._syns = _kinds(head, "sockets"), _kinds(head, "syns")
        self._half_open, self._connections = Joiner(sockets, MOST_ROWS), Joiner(sockets, MOST_ROWS)
        self._ended = Joiner(sockets, MOST_ROWS)
        self._proven = Joiner(_kinds(head, "addresses"), MOST_ROWS)
        self._counters: dict[str, int] = {}
        self._listeners: tuple[Listener, ...] = ()
        self._port_mapping: Mapping[int, tuple[int, ...]] = {}
        self._namespaces = [""]
        self._protected = Protected({}, ("the recording does not say who must be protected",))
        self._at = head.at

    def read(self, tick: bytes) -> Moment:
        """Return one tick.

        Raises:
            DamagedError: No recorder wrote these bytes.
        """
        line, _, rows = tick.partition(b"\n")
        head = validated(TickHead, line)
        if head.at < self._at:
            raise DamagedError("time goes backwards")
        self._at = head.at
        self._namespaces.extend(head.namespaces)
        self._port_mapping = self._port_mapping if head.port_mapping is None else head.port_mapping
        data = Bytes(rows)
        half_open = self._sockets(head.half_open, self._half_open, head.at, data)
        connections = self._sockets(head.connections, self._connections, head.at, data)
        ended = self._sockets(head.ended, self._ended, head.at, data)
        proven = self._peers(head.proven, data)
        syns = self._sample(head.syns, data)
        data.end()
        readings = Readings(
            at=head.at,
            half_open=half_open,
            connections=connections,
            ended=None if ended is None else ended.table,
            listeners=self._listening(head.listeners),
            counters=self._counted(head.counters, head.at),
            syns=syns,
            proven=proven,
            port_mapping=self._port_mapping,
            failures=head.failures,
        )
        parts = (head.half_open, head.connections, head.ended, head.proven, head.syns)
        return Moment(
            self._utc(head.at), readings, self._protect(head.protected), sum(part.lost for part in parts if part)
        )

    def _utc(self, at: float) -> datetime:
        try:
            return self._head.utc + timedelta(seconds=at - self._head.at)
        except OverflowError as error:
            raise DamagedError("a time is out of range") from error

    def _sockets(self, head: TableHead | None, joiner: Joiner, at: float, data: Bytes) -> SocketReading | None:
        if head is None:
            return None
        columns = joiner.read(data, head.new)
        numbers = _column(columns, NAMESPACE, "u4", length(columns))
        spans: tuple[NamespaceSpan, ...] = ()
        if numbers.any():
            order = np.argsort(numbers, kind="stable")
            columns = {name: column[order] for name, column in columns.items()}
            spans = self._spans(numbers[order])
        return SocketReading(at if head.at is None else head.at, _table(columns), head.source, spans)

    def _spans(self, numbers: U32) -> tuple[NamespaceSpan, ...]:
        """Return the runs of equal namespace numbers, which are in order."""
        present, starts = np.unique(numbers, return_index=True)
        if int(present[-1]) >= len(self._namespaces):
            raise DamagedError("a socket lives in a namespace that has no name")
        stops = [*starts[1:].tolist(), len(numbers)]
        names = (self._namespaces[number] for number in present.tolist())
        return tuple(NamespaceSpan(*span) for span in zip(names, starts.tolist(), stops, strict=True))

    def _peers(self, head: TableHead | None, data: Bytes) -> tuple[Any, Any] | None:
        if head is None:
            return None
        columns = self._proven.read(data, head.new)
        return columns["high"], columns["low"]

    def _sample(self, head: SynsHead | None, data: Bytes) -> SynSample | None:
        if head is None:
            return None
        columns = unpack(data, self._syns, head.rows)
        values: dict[str, Any] = {}
        for item in fields(SynSample):
            if item.name in SYNS:
                values[item.name] = _column(columns, item.name, SYNS[item.name], head.rows)
            elif item.name in head.plain:
                values[item.name] = head.plain[item.name]
            elif item.default is MISSING:
                raise DamagedError(f"a sample has no {item.name}")
        return SynSample(**values)

    def _counted(self, head: CountersHead | None, at: float) -> CounterReading | None:
        if head is None:
            return None
        together = self._counters | head.values
        self._counters = {name: value for name, value in together.items() if value is not None}
        return CounterReading(at if head.at is None else head.at, self._counters)

    def _listening(self, listeners: Sequence[ListenerHead] | None) -> tuple[Listener, ...]:
        if listeners is not None:
            self._listeners = tuple(
                Listener(**{name: getattr(one, name) for name in LISTENER} | {"address": unmapped(one.address)})
                for one in listeners
            )
        return self._listeners

    def _protect(self, head: ProtectedHead | None) -> Protected:
        if head is not None:
            networks, containers = (
                {unmapped_network(network): why for network, why in given.items()}
                for given in (head.networks, head.never_cut_off)
            )
            self._protected = Protected(networks, head.problems, never_cut_off=containers)
        return self._protected


def validated(model: type[_Model], line: bytes) -> _Model:
    """Return a head from its JSON.

    Raises:
        DamagedError: It is none.
    """
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DamagedError(f"its {where or 'head'} is not what a recorder writes") from error


def _kinds(head: FileHead, table: str) -> Kinds:
    kinds = head.tables.get(table)
    if not kinds:
        raise DamagedError(f"it names no columns of {table}")
    needed = {"addresses": ("high", "low")}.get(table, ())
    if any(kinds.get(name) != "u8" for name in needed):
        raise DamagedError("addresses have no high and low")
    return kinds


def _table(columns: Columns) -> SocketTable:
    rows = length(columns)
    return SocketTable(**{name: _column(columns, name, kind, rows) for name, kind in SOCKETS.items()})


def _column(columns: Columns, name: str, kind: str, rows: int) -> Any:
    """Return a column as this release has it; one that the file lacks is zeros."""
    column = columns.get(name)
    return np.zeros(rows, kind) if column is None else column.astype(kind, copy=False)
