"""Who is connected from where: socket columns asked about networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from synguard.addresses import Network, NetworkIndex, host_at
from synguard.columns import U64
from synguard.detector.columns import cut, inside, sorting_order
from synguard.readings import Readings
from synguard.socket_table import CONNECTED, Presence, SocketTable, TcpState


def presence(table: SocketTable, network: Network) -> Presence:
    """Return what a network holds of the table; no Python loop over sockets outside of it."""
    there = inside(table.remote_high, table.remote_low, network)
    here = table.where(there & (table.state != np.uint8(TcpState.LISTEN)))
    states = Counter(TcpState(int(state)).name for state in here.state)
    connected = here.where(np.isin(here.state, [int(state) for state in CONNECTED]))
    peers = set(zip(connected.remote_high.tolist(), connected.remote_low.tolist(), strict=True))
    return Presence(dict(states.most_common()), len(peers))


def half_open_by_target(table: SocketTable, targets: Iterable[Network]) -> dict[Network, int]:
    """Return target → its half-open sockets; targets with none are absent.

    Every source is looked up once among the targets, by prefix length: many bans cost no more than few.
    """
    half_open = table.where(table.state == np.uint8(TcpState.SYN_RECV))
    sources = Counter(zip(half_open.remote_high.tolist(), half_open.remote_low.tolist(), strict=True))
    index = NetworkIndex(targets)
    counts: Counter[Network] = Counter()
    for source, count in sources.items():
        for target in index.all_overlapping(host_at(*source)):
            counts[target] += count
    return dict(counts)


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
