"""Any readings, for Hypothesis, and whether two say the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from synguard.addresses import parse_network, unmapped
from synguard.readings import CounterReading, Listener, NamespaceSpan, Protected, Readings, SocketReading, SynSample
from synguard.socket_table import SocketTable, TcpState

_SECONDS = st.floats(0, 1e6, allow_nan=False)
_FEW = st.integers(0, 3)
"""Few distinct values, so that rows repeat within a table and from one to the next."""


def _column(rows: int, kind: str) -> st.SearchStrategy[Any]:
    top = np.iinfo(np.dtype(kind)).max
    return stn.arrays(np.dtype(kind), rows, elements=st.one_of(_FEW, st.sampled_from([top, top - 1])))


@st.composite
def tables(draw: st.DrawFn) -> SocketTable:
    """Sockets; queues and cookies, which are not recorded, are zeros."""
    rows = draw(st.integers(0, 12))
    wide, port = _column(rows, "u8"), _column(rows, "u2")
    return SocketTable(
        state=draw(stn.arrays(np.uint8, rows, elements=st.sampled_from([int(state) for state in TcpState]))),
        local_high=draw(wide),
        local_low=draw(wide),
        local_port=draw(port),
        remote_high=draw(wide),
        remote_low=draw(wide),
        remote_port=draw(port),
        recv_queue=np.zeros(rows, np.uint32),
        send_queue=np.zeros(rows, np.uint32),
        cookie=np.zeros(rows, np.uint64),
    )


@st.composite
def sockets(draw: st.DrawFn, at: st.SearchStrategy[float]) -> SocketReading:
    """Sockets, some perhaps of other network namespaces."""
    table = draw(tables())
    cuts = sorted(draw(st.lists(st.integers(0, len(table)), max_size=2)))
    bounds = [0, *cuts, len(table)]
    names = draw(st.permutations(["", "shop", "blog"]))
    spans = tuple(NamespaceSpan(*span) for span in zip(names, bounds, bounds[1:], strict=False)) if cuts else ()
    return SocketReading(draw(at), table, draw(st.text(max_size=8)), spans)


@st.composite
def samples(draw: st.DrawFn) -> SynSample:
    """Sampled SYNs."""
    rows = draw(st.integers(0, 12))
    kinds = {"U8": "u1", "U16": "u2", "U32": "u4", "U64": "u8"}
    columns = {
        item.name: draw(_column(rows, kinds[str(item.type)])) for item in fields(SynSample) if item.type in kinds
    }
    return SynSample(
        at=draw(_SECONDS), window_s=draw(_SECONDS), one_in=draw(st.integers(1, 1 << 20)), lost=draw(_FEW), **columns
    )


_ADDRESSES = st.ip_addresses().map(unmapped)
_LISTENERS = st.lists(
    st.builds(
        Listener, _ADDRESSES, st.integers(0, 65535), st.integers(0, 2**32 - 1), _FEW, *[st.text(max_size=8)] * 2, _FEW
    ),
    max_size=3,
).map(tuple)
_COUNTERS = st.dictionaries(
    st.sampled_from(["SyncookiesSent", "TCPReqQFullDrop", "PassiveOpens", "ListenOverflows"]), st.integers(0, 2**64 - 1)
)


@st.composite
def readings(draw: st.DrawFn, at: float) -> Readings:
    """One tick's readings at a time."""
    peers = draw(st.none() | tables())
    times = st.just(at) | _SECONDS
    return Readings(
        at=at,
        half_open=draw(st.none() | sockets(times)),
        connections=draw(st.none() | sockets(times)),
        ended=draw(st.none() | tables()),
        listeners=draw(_LISTENERS),
        counters=draw(st.none() | st.builds(CounterReading, times, _COUNTERS)),
        syns=draw(st.none() | samples()),
        proven=None if peers is None else (peers.remote_high, peers.remote_low),
        port_mapping=draw(
            st.dictionaries(st.integers(0, 65535), st.lists(st.integers(0, 65535), max_size=2).map(tuple))
        ),
        failures=draw(st.dictionaries(st.sampled_from(["half_open", "counters"]), st.text(max_size=8))),
    )


@st.composite
def ticks(draw: st.DrawFn) -> list[tuple[Readings, Protected]]:
    """Some ticks one after the other; often nobody's protection changes."""
    networks = st.dictionaries(
        st.sampled_from([parse_network("192.0.2.1"), parse_network("2001:db8::/64")]), st.text(max_size=8)
    )
    protected = st.builds(Protected, networks, st.lists(st.text(max_size=8), max_size=2).map(tuple))
    shared = draw(protected)
    times = sorted(draw(st.lists(_SECONDS, max_size=5)))
    return [(draw(readings(at)), draw(st.just(shared) | protected)) for at in times]


def same(one: Any, other: Any) -> bool:
    """Return whether two readings say the same, whatever the order of rows."""
    if isinstance(one, SocketTable | SynSample):
        return type(one) is type(other) and _rows(one) == _rows(other) and _plain(one) == _plain(other)
    if isinstance(one, tuple) and one and isinstance(one[0], np.ndarray):
        return isinstance(other, tuple) and _pairs(one) == _pairs(other)
    if isinstance(one, SocketReading):
        return isinstance(other, SocketReading) and _sockets(one) == _sockets(other)
    if isinstance(one, Readings):
        return type(one) is type(other) and all(
            same(getattr(one, item.name), getattr(other, item.name)) for item in fields(one)
        )
    return bool(one == other)


def _sockets(one: SocketReading) -> tuple[object, ...]:
    by_namespace: dict[str, list[tuple[int, ...]]] = {}
    for namespace, table in one.parts():
        if len(table):
            by_namespace.setdefault(namespace, []).extend(_rows(table))
    return one.at, one.source, {name: sorted(rows) for name, rows in by_namespace.items()}


def _rows(one: Any) -> list[tuple[int, ...]]:
    return _pairs([value for value in _values(one).values() if isinstance(value, np.ndarray)])


def _plain(one: Any) -> dict[str, Any]:
    return {name: value for name, value in _values(one).items() if not isinstance(value, np.ndarray)}


def _values(one: Any) -> Mapping[str, Any]:
    return {item.name: getattr(one, item.name) for item in fields(one)}


def _pairs(columns: Any) -> list[tuple[int, ...]]:
    return sorted(zip(*(column.tolist() for column in columns), strict=True))
