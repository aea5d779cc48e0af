"""Where limits are lower than the policy says: at listeners whose SYN queue overflows, and at services that stall.

Each is a matter of single ports. A listener that
one SYN fills must not lower limits elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from synguard.detector.assessment import ListenerPressure, Observation
from synguard.detector.columns import cut, families, sorting_order
from synguard.detector.counting import AddressRows
from synguard.model import Signal
from synguard.policy.models import Limits, Policy

LINGER_S: Final = 2.0
"""A port stays pressed this long after its queue last overflowed, so that limits do not flap between ticks."""
NEARLY_FULL: Final = 0.25
"""Fill from which a listener is taken to be the one whose overflow the host-wide counters show."""
STALLED_S: Final = 2.0
"""A service that left connections waiting at every look for so long does not accept as it should."""
HEAVY_SHARE: Final = 1 / 32
"""Share of a stalled service's connections that a source may hold …"""
PREFIX_SHARE: Final = 1 / 2
"""… and a /24 or /56."""
MOST: Final = 0.75
"""Limits of a stalled service fall only if few sources, or one prefix, hold at least this share of its connections."""
OTHERS: Final = 4
"""Sources that are kept out by them, at least, and as many as they are: a ban helps neither a proxy's backend, nor the
monitors beside many nodes of a proxy."""
DENSER: Final = 4.0
"""A prefix is to blame if each of its sources holds so many times what the others hold on average …"""
HEAVIER: Final = 8.0
"""… and sources by themselves if they hold so many times that."""
LEAST_HELD: Final = 32.0
"""No limit of connections falls below this."""


class PressedPorts:
    """Remembers at which ports a SYN queue overflowed lately."""

    def __init__(self) -> None:
        self._until: dict[int, float] = {}

    def follow(self, pressure: Collection[ListenerPressure], now: float, *, overflowing: bool) -> None:
        """Take in one tick; ``overflowing`` is what the host-wide counters say."""
        # without cookies the kernel turns clients away at three quarters of tcp_max_syn_backlog already, which may be
        # little of a listener's own backlog: the fullest one is meant then
        enough = min(NEARLY_FULL, max((listener.strain for listener in pressure), default=0.0))
        for listener in pressure:
            if listener.overwhelmed or (overflowing and listener.strain >= enough > 0):
                self._until[listener.port] = now + LINGER_S

    def at(self, now: float) -> frozenset[int]:
        """Return the ports that are pressed."""
        self._until = {port: until for port, until in self._until.items() if now <= until}
        return frozenset(self._until)


class StalledPorts:
    """Remembers since when connections have been waiting for a service to accept them, without a pause."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def follow(self, pressure: Iterable[ListenerPressure], now: float) -> frozenset[int]:
        """Take in one tick; return the ports that do not accept as they should."""
        waiting = {listener.port for listener in pressure if listener.accept_queue > 0}
        self._since = {port: self._since.get(port, now) for port in waiting}
        return frozenset(port for port, since in self._since.items() if now - since >= STALLED_S)


@dataclass(frozen=True, slots=True)
class _Held:
    """Connections of one service by source and by the first prefix; one entry a source or prefix."""

    source: npt.NDArray[np.float64]
    prefix: npt.NDArray[np.float64]
    sources_in: npt.NDArray[np.float64]


def stalled_limits(rows: AddressRows, policy: Policy) -> Policy | None:
    """Return the policy as it holds for one stalled service's connections, or None where no few are to blame."""
    own = policy.limits.connections
    if own is None or policy.scope == "new" or not len(rows.port):
        return None
    held = _held(rows, policy)
    total = float(held.source.sum())
    heavy = held.source > HEAVY_SHARE * total
    few, others = int(heavy.sum()), int((~heavy).sum())
    by_heavy = float(held.source[heavy].sum())
    if (
        by_heavy >= MOST * total
        and others >= max(OTHERS, few)
        and by_heavy * others >= HEAVIER * few * (total - by_heavy)
    ):
        limit = max(HEAVY_SHARE * total, float(held.source.max()) / 2, LEAST_HELD)
        return policy.model_copy(update={"limits": _with_connections(policy.limits, min(own, limit))})
    whole = policy.prefix_limits.connections
    fullest = int(held.prefix.argmax())
    others = len(held.source) - held.sources_in[fullest]
    if whole is None or held.prefix[fullest] < MOST * total or others < OTHERS:
        return None
    outside = (total - held.prefix[fullest]) / others
    if held.prefix[fullest] < DENSER * outside * held.sources_in[fullest]:
        return None
    limit = max(PREFIX_SHARE * total, LEAST_HELD)
    return policy.model_copy(update={"prefix_limits": _with_connections(policy.prefix_limits, min(whole, limit))})


def held_by_few(rows: AddressRows, policy: Policy) -> bool:
    """Return whether few sources, or one prefix, hold most of the connections of one port."""
    held = _held(rows, policy)
    total = float(held.source.sum())
    return float(held.source[held.source > HEAVY_SHARE * total].sum()) >= MOST * total or bool(
        held.prefix.max() >= MOST * total
    )


def _with_connections(limits: Limits, connections: float) -> Limits:
    return limits.model_copy(update={Signal.CONNECTIONS.value: connections})


def _held(rows: AddressRows, policy: Policy) -> _Held:
    source, prefix, sources_in = [], [], []
    for version, chosen in families(rows.high, rows.low, policy.prefixes.embedding):
        high, low = rows.high[chosen], rows.low[chosen]
        order = sorting_order(high, low)
        lengths = policy.prefixes.lengths(version)
        runs = cut(high[order], low[order], version, lengths[0])
        wider = cut(runs.high, runs.low, version, lengths[min(1, len(lengths) - 1)])
        counts = (runs.end - runs.start).astype(np.float64)
        source.append(counts)
        prefix.append(np.add.reduceat(counts, wider.start) if len(runs) else counts)
        sources_in.append((wider.end - wider.start).astype(np.float64))
    if not source:
        return _Held(np.empty(0), np.empty(0), np.empty(0))
    return _Held(np.concatenate(source), np.concatenate(prefix), np.concatenate(sources_in))


def gravest(found: Iterable[Observation]) -> Iterator[Observation]:
    """Yield one observation for each target and signal, that which is furthest beyond its limit."""
    by_key: dict[tuple[str, object, Signal], Observation] = {}
    for one in found:
        key = (one.policy, one.target, one.signal)
        other = by_key.get(key)
        if other is None or one.value * other.limit > other.value * one.limit:
            by_key[key] = one
    return iter(by_key.values())
