"""Who is connected from where: socket columns asked about networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from synguard.addresses import Network
from synguard.detector.columns import cut, sorting_order
from synguard.readings import CONNECTED, U64, Presence, Readings, SocketTable, TcpState

_HALF = (1 << 64) - 1
_V4 = 0xFFFF << 32


def presence(table: SocketTable, network: Network) -> Presence:
    """Return what a network holds of the table; no Python loop over sockets outside of it."""
    inside = table.where(_within(table, network) & (table.state != np.uint8(TcpState.LISTEN)))
    states = Counter(TcpState(int(state)).name for state in inside.state)
    return Presence(dict(states.most_common()), _distinct_peers(inside))


def peers_by_target(table: SocketTable, targets: Iterable[Network]) -> dict[Network, int]:
    """Return target → distinct addresses in it with a completed handshake; targets with none are absent."""
    counts = {target: _distinct_peers(table.where(_within(table, target))) for target in targets}
    return {target: count for target, count in counts.items() if count}


def half_open_by_target(table: SocketTable, targets: Iterable[Network]) -> dict[Network, int]:
    """Return target → its half-open sockets; targets with none are absent.

    Every source is looked up once among the targets, by prefix length: many bans cost no more than few.
    """
    half_open = table.where(table.state == np.uint8(TcpState.SYN_RECV))
    sources = Counter(zip(half_open.remote_high.tolist(), half_open.remote_low.tolist(), strict=True))
    wanted: dict[tuple[int, int], dict[int, Network]] = {}
    for target in targets:
        shift = target.max_prefixlen - target.prefixlen
        wanted.setdefault((target.version, shift), {})[int(target.network_address) >> shift] = target
    counts: Counter[Network] = Counter()
    for (high, low), count in sources.items():
        version, value = (4, low & 0xFFFF_FFFF) if not high and low >> 32 == _V4 >> 32 else (6, high << 64 | low)
        for (of, shift), by_start in wanted.items():
            if of == version and value >> shift in by_start:
                counts[by_start[value >> shift]] += count
    return dict(counts)


def _distinct_peers(table: SocketTable) -> int:
    connected = table.where(np.isin(table.state, [int(state) for state in CONNECTED]))
    return len(set(zip(connected.remote_high.tolist(), connected.remote_low.tolist(), strict=True)))


def _within(table: SocketTable, network: Network) -> npt.NDArray[np.bool_]:
    """Return bool, one per row: whether the remote end is in the network."""
    offset = _V4 if network.version == 4 else 0
    first = int(network.network_address) + offset
    last = int(network.broadcast_address) + offset
    high, low = table.remote_high, table.remote_low
    after = (high > np.uint64(first >> 64)) | ((high == np.uint64(first >> 64)) & (low >= np.uint64(first & _HALF)))
    before = (high < np.uint64(last >> 64)) | ((high == np.uint64(last >> 64)) & (low <= np.uint64(last & _HALF)))
    return np.asarray(after & before, np.bool_)


def completed(readings: Readings) -> tuple[U64, U64] | None:
    """Return the peers of completed connections, each once in address order; None where none were read."""
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
    return distinct.high, distinct.low
