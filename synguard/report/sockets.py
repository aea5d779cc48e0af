"""The socket table as operators ask for it: who, from which network, to which port, in which state.

Pure: a table goes in, counted groups come out. Counting is numpy's; Python objects exist for shown rows only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from synguard.addresses import format_network
from synguard.columns import U64
from synguard.detector.columns import as_judged, in_ranges, is_ipv4, masks, network_at, sorting_order
from synguard.readings import Listener
from synguard.report.group_by import By
from synguard.socket_table import SocketTable, TcpState

Ids: TypeAlias = npt.NDArray[np.intp]
Mask: TypeAlias = npt.NDArray[np.bool_]
Lengths: TypeAlias = tuple[int, int]

HOSTS: Final[Lengths] = (32, 128)
NETWORKS: Final[Lengths] = (24, 48)
"""IPv4 and IPv6 prefix lengths that ``--by prefix`` groups by unless told otherwise."""
NO_PROCESS: Final = "-"

_UDP_STATES: Final = {TcpState.ESTABLISHED: "UDP connected", TcpState.CLOSE: "UDP open"}


@dataclass(frozen=True, slots=True)
class SocketView:
    """All sockets of one moment: TCP, and UDP where asked for."""

    table: SocketTable
    udp: Mask
    """Which rows are UDP sockets."""
    listeners: tuple[Listener, ...]

    def where(self, mask: Mask) -> SocketView:
        """Return the rows where ``mask`` is true."""
        return SocketView(self.table.where(mask), self.udp[mask], self.listeners)


@dataclass(frozen=True, slots=True)
class Group:
    """Sockets that share a key."""

    key: str
    sockets: int
    half_open: int = 0
    established: int = 0
    time_wait: int = 0
    other: int = 0
    udp: int = 0
    sources: int = 0
    """Distinct remote addresses among them."""
    process: str = ""
    """For a port, who listens there."""


@dataclass(frozen=True, slots=True)
class Groups:
    """The largest groups, and what they leave out."""

    by: By
    rows: tuple[Group, ...]
    total: Group
    """All groups together, those left out too."""
    groups: int
    """How many groups there are."""

    @property
    def left_out(self) -> int:
        """How many groups are not among the rows."""
        return self.groups - len(self.rows)

    @property
    def sockets_left_out(self) -> int:
        """How many sockets the groups left out hold."""
        return self.total.sockets - sum(row.sockets for row in self.rows)


def socket_view(tcp: SocketTable, udp: SocketTable | None, listeners: tuple[Listener, ...]) -> SocketView:
    """Return TCP and UDP sockets as one."""
    if udp is None:
        return SocketView(tcp, np.zeros(len(tcp), np.bool_), listeners)
    both = SocketTable.joined([tcp, udp])
    return SocketView(both, np.arange(len(both)) >= len(tcp), listeners)


def chosen(seen: SocketView, by: By, states: Iterable[TcpState], ports: Sequence[range]) -> SocketView:
    """Return the sockets that a grouping is about, of these states and local ports (empty: any)."""
    table = seen.table
    mask = np.ones(len(table), np.bool_)
    states = frozenset(states)
    if states:
        mask &= np.isin(table.state, list(states))
    if ports:
        mask &= in_ranges(table.local_port, ports)
    if by in (By.SOURCE, By.PREFIX, By.REMOTE):
        mask &= table.remote_port != 0
    if by not in (By.REMOTE, By.STATE):
        mask &= _at_listening_port(seen)
        mask &= (table.state != TcpState.LISTEN) | seen.udp
    return seen.where(mask)


def grouped(seen: SocketView, by: By, limit: int, lengths: Lengths = NETWORKS) -> Groups:
    """Return the groups with most sockets, at most ``limit`` of them (0: all), then in the order of their keys."""
    ids, label = _GROUPINGS[by](seen, lengths)
    groups = int(ids.max()) + 1 if len(ids) else 0
    counted = _counts(seen, ids, groups)
    order = np.argsort(-counted["sockets"], kind="stable")
    shown = order[: limit or None]
    rows = tuple(_group(label(int(row)), counted, int(row)) for row in shown)
    if by is By.PORT:
        rows = tuple(_with_process(row, seen.listeners) for row in rows)
    total = _group("total", _counts(seen, np.zeros(len(seen.table), np.intp), 1), 0)
    return Groups(by, rows, total, groups)


def _group(key: str, counted: Mapping[str, npt.NDArray[np.int64]], row: int) -> Group:
    counts: dict[str, Any] = {name: int(column[row]) for name, column in counted.items()}
    return Group(key, **counts)


def _at_listening_port(seen: SocketView) -> Mask:
    """Return which rows belong to a port that listens; for UDP, to one with a socket that takes from anyone."""
    listening = np.zeros((2, 1 << 16), np.bool_)
    listening[0, [listener.port for listener in seen.listeners]] = True
    listening[1, seen.table.local_port[seen.udp & (seen.table.remote_port == 0)]] = True
    return np.asarray(listening[seen.udp.astype(np.intp), seen.table.local_port], np.bool_)


def _counts(seen: SocketView, ids: Ids, groups: int) -> dict[str, npt.NDArray[np.int64]]:
    """Return one column of counts per field of ``Group``, one entry per group."""
    state, tcp = seen.table.state, ~seen.udp

    def count(mask: Mask) -> npt.NDArray[np.int64]:
        return np.bincount(ids[mask], minlength=groups).astype(np.int64)

    half_open = tcp & (state == TcpState.SYN_RECV)
    established = tcp & (state == TcpState.ESTABLISHED)
    time_wait = tcp & (state == TcpState.TIME_WAIT)
    return {
        "sockets": count(np.ones(len(ids), np.bool_)),
        "half_open": count(half_open),
        "established": count(established),
        "time_wait": count(time_wait),
        "other": count(tcp & ~half_open & ~established & ~time_wait),
        "udp": count(seen.udp),
        "sources": _distinct_sources(seen, ids, groups),
    }


def _distinct_sources(seen: SocketView, ids: Ids, groups: int) -> npt.NDArray[np.int64]:
    has_peer = seen.table.remote_port != 0
    sources, _, _ = _address_ids(seen.table.remote_high[has_peer], seen.table.remote_low[has_peer], HOSTS)
    if not len(sources):
        return np.zeros(groups, np.int64)
    pairs = np.unique(ids[has_peer].astype(np.int64) * (int(sources.max()) + 1) + sources)
    return np.bincount(pairs // (int(sources.max()) + 1), minlength=groups).astype(np.int64)


def _address_ids(high: U64, low: U64, lengths: Lengths) -> tuple[Ids, U64, U64]:
    """Return each row's network as a number counted in address order, and the networks' first addresses."""
    short = _as_ipv4(high, low)
    (high4, low4), (high6, low6) = masks(4, lengths[0]), masks(6, lengths[1])
    high, low = high & np.where(short, high4, high6), low & np.where(short, low4, low6)
    order = sorting_order(high, low)
    sorted_high, sorted_low = high[order], low[order]
    begins = np.ones(len(order), np.bool_)
    begins[1:] = (sorted_high[1:] != sorted_high[:-1]) | (sorted_low[1:] != sorted_low[:-1])
    ids = np.empty(len(order), np.intp)
    ids[order] = np.cumsum(begins) - 1
    return ids, sorted_high[begins], sorted_low[begins]


def _as_ipv4(high: U64, low: U64) -> Mask:
    """Return which rows are grouped by the IPv4 length: IPv4, and IPv6 that embeds it."""
    return is_ipv4(*as_judged(high, low))


def _by_network(seen: SocketView, lengths: Lengths) -> tuple[Ids, Callable[[int], str]]:
    ids, high, low = _address_ids(seen.table.remote_high, seen.table.remote_low, lengths)
    v4, short = is_ipv4(high, low), _as_ipv4(high, low)

    def label(row: int) -> str:
        version, length = (4, lengths[0]) if v4[row] else (6, 96 + lengths[0] if short[row] else lengths[1])
        return format_network(network_at(int(high[row]), int(low[row]), version, length))

    return ids, label


def _by_host(seen: SocketView, _: Lengths) -> tuple[Ids, Callable[[int], str]]:
    return _by_network(seen, HOSTS)


def _by_port(seen: SocketView, _: Lengths) -> tuple[Ids, Callable[[int], str]]:
    ports, ids = np.unique(seen.table.local_port, return_inverse=True)
    return ids, lambda row: str(int(ports[row]))


def _by_state(seen: SocketView, _: Lengths) -> tuple[Ids, Callable[[int], str]]:
    keys, ids = np.unique(seen.table.state + np.uint8(128) * seen.udp.astype(np.uint8), return_inverse=True)

    def label(row: int) -> str:
        state = TcpState(int(keys[row]) & 127)
        return _UDP_STATES.get(state, "UDP") if keys[row] & 128 else state.name

    return ids, label


def _by_process(seen: SocketView, _: Lengths) -> tuple[Ids, Callable[[int], str]]:
    names = [NO_PROCESS, *sorted({listener.process for listener in seen.listeners if listener.process})]
    number = np.zeros(1 << 16, np.intp)
    for listener in seen.listeners:
        if listener.process:
            number[listener.port] = names.index(listener.process)
    used, ids = np.unique(number[seen.table.local_port], return_inverse=True)
    return ids, lambda row: names[int(used[row])]


_GROUPINGS: Final[dict[By, Callable[[SocketView, Lengths], tuple[Ids, Callable[[int], str]]]]] = {
    By.SOURCE: _by_host,
    By.REMOTE: _by_host,
    By.PREFIX: _by_network,
    By.PORT: _by_port,
    By.STATE: _by_state,
    By.PROCESS: _by_process,
}


def _with_process(row: Group, listeners: Iterable[Listener]) -> Group:
    names = sorted({listener.process for listener in listeners if listener.port == int(row.key) and listener.process})
    return replace(row, process=", ".join(names))
