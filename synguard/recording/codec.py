"""Readings to bytes and back. Pure: no file, no clock.

A tick is one line of JSON and then rows as ``columns`` writes them. What neither detector nor decision looks at is
left out: queues and cookies of sockets, and counters beyond ``is_recorded``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from synguard.addresses import unmapped, unmapped_network
from synguard.readings import (
    U32,
    CounterReading,
    Listener,
    Protected,
    Readings,
    SocketReading,
    SocketTable,
    Span,
    SynSample,
)
from synguard.recording.columns import Bytes, Columns, DamagedError, Differ, Joiner, Kinds, length, pack, unpack
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

LEFT_OUT: Final = frozenset({"recv_queue", "send_queue", "cookie"})
"""Columns of sockets that are not recorded and come back as zeros."""

NAMESPACE: Final = "namespace"
"""Column of the number of the network namespace that a socket lives in, 0 for ours."""

_COUNTERS: Final = frozenset({"PassiveOpens", "AttemptFails", "EstabResets", "OutRsts", "EmbryonicRsts"})
_COUNTER_GROUPS: Final = ("Syncookies", "TCPReqQFull", "Listen")

_KIND: Final = {"U8": "u1", "U16": "u2", "U32": "u4", "U64": "u8"}
"""Column types of ``synguard.readings`` → kinds of column."""

_Model = TypeVar("_Model", bound=BaseModel)


def _column_kinds(owner: Any) -> dict[str, str]:
    """Return the columns of a dataclass by their annotations: one added to the readings is recorded too."""
    return {item.name: _KIND[str(item.type)] for item in fields(owner) if item.type in _KIND}


_SOCKETS: Final = _column_kinds(SocketTable)
_SYNS: Final = _column_kinds(SynSample)
_LISTENER: Final = [item.name for item in fields(Listener)]


@dataclass(frozen=True, slots=True)
class Moment:
    """One recorded tick."""

    utc: datetime
    readings: Readings
    protected: Protected
    lost: int
    """Rows that were too many to record."""


def is_recorded(counter: str) -> bool:
    """Return whether a kernel counter is recorded: those that speak of SYN queues, cookies, resets, completion."""
    return counter in _COUNTERS or counter.startswith(_COUNTER_GROUPS)


def columns_written() -> dict[str, dict[str, str]]:
    """Return the columns that this release writes: table → name → kind."""
    sockets = {name: kind for name, kind in _SOCKETS.items() if name not in LEFT_OUT}
    return {"sockets": sockets | {NAMESPACE: "u4"}, "addresses": {"high": "u8", "low": "u8"}, "syns": dict(_SYNS)}


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
        columns = {name: getattr(kept, name) for name in _SOCKETS if name not in LEFT_OUT}
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
            ListenerHead.model_construct(**{name: _plain(getattr(one, name)) for name in _LISTENER})
            for one in listeners
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


class Decoder:
    """Turns bytes back into ticks; any bytes give a tick or ``DamagedError``."""

    def __init__(self, head: FileHead) -> None:
        self._head = head
        sockets, self._syns = _kinds(head, "sockets"), _kinds(head, "syns")
        self._half_open, self._connections = Joiner(sockets, MOST_ROWS), Joiner(sockets, MOST_ROWS)
        self._proven = Joiner(_kinds(head, "addresses"), MOST_ROWS)
        self._counters: dict[str, int] = {}
        self._listeners: tuple[Listener, ...] = ()
        self._doors: Mapping[int, tuple[int, ...]] = {}
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
        self._doors = self._doors if head.doors is None else head.doors
        data = Bytes(rows)
        half_open = self._sockets(head.half_open, self._half_open, head.at, data)
        connections = self._sockets(head.connections, self._connections, head.at, data)
        proven = self._peers(head.proven, data)
        syns = self._sample(head.syns, data)
        data.end()
        readings = Readings(
            at=head.at,
            half_open=half_open,
            connections=connections,
            listeners=self._listening(head.listeners),
            counters=self._counted(head.counters, head.at),
            syns=syns,
            proven=proven,
            doors=self._doors,
            failures=head.failures,
        )
        parts = (head.half_open, head.connections, head.proven, head.syns)
        return Moment(
            self._utc(head.at), readings, self._protect(head.protected), sum(part.lost for part in parts if part)
        )

    def _utc(self, at: float) -> datetime:
        try:
            return self._head.utc + timedelta(seconds=at - self._head.at)
        except OverflowError as error:
            raise DamagedError("a time lies beyond the calendar") from error

    def _sockets(self, head: TableHead | None, joiner: Joiner, at: float, data: Bytes) -> SocketReading | None:
        if head is None:
            return None
        columns = joiner.read(data, head.new)
        numbers = _column(columns, NAMESPACE, "u4", length(columns))
        spans: tuple[Span, ...] = ()
        if numbers.any():
            order = np.argsort(numbers, kind="stable")
            columns = {name: column[order] for name, column in columns.items()}
            spans = self._spans(numbers[order])
        return SocketReading(at if head.at is None else head.at, _table(columns), head.source, spans)

    def _spans(self, numbers: U32) -> tuple[Span, ...]:
        """Return the runs of equal namespace numbers, which are in order."""
        present, starts = np.unique(numbers, return_index=True)
        if int(present[-1]) >= len(self._namespaces):
            raise DamagedError("a socket lives in a namespace that has no name")
        stops = [*starts[1:].tolist(), len(numbers)]
        names = (self._namespaces[number] for number in present.tolist())
        return tuple(Span(*span) for span in zip(names, starts.tolist(), stops, strict=True))

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
            if item.name in _SYNS:
                values[item.name] = _column(columns, item.name, _SYNS[item.name], head.rows)
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
                Listener(**{name: getattr(one, name) for name in _LISTENER} | {"address": unmapped(one.address)})
                for one in listeners
            )
        return self._listeners

    def _protect(self, head: ProtectedHead | None) -> Protected:
        if head is not None:
            networks = {unmapped_network(network): why for network, why in head.networks.items()}
            self._protected = Protected(networks, head.problems)
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


def _unless(value: float, other: float) -> float | None:
    return None if value == other else value


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
    return SocketTable(**{name: _column(columns, name, kind, rows) for name, kind in _SOCKETS.items()})


def _column(columns: Columns, name: str, kind: str, rows: int) -> Any:
    """Return a column as this release has it; one that the file lacks is zeros."""
    column = columns.get(name)
    return np.zeros(rows, kind) if column is None else column.astype(kind, copy=False)


def _plain(value: Any) -> Any:
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    """Return text that UTF-8 can hold: names of processes may be any bytes."""
    return text.encode("utf-8", "replace").decode("utf-8")
