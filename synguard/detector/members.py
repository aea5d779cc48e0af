"""Who is behind a sum: the members of one network by what each of them has; sorted only when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from synguard.addresses import Network
from synguard.columns import U16, U64
from synguard.detector.ban_filter import BanFilter
from synguard.detector.columns import Runs, cut, in_ranges, rows_inside, sorting_order

Floats = npt.NDArray[np.float64]
Weighted: TypeAlias = tuple[U64, U64, U16, Floats]
"""Source (high, low), local port, and what each row is worth."""


@dataclass(frozen=True, slots=True)
class Members:
    """The members of one network, one prefix length; columns of equal length."""

    runs: Runs
    value: Floats
    rows: npt.NDArray[np.intp]
    """How many sockets or sampled SYNs each value rests on."""
    prefixlen: int


class SortedRows:
    """The rows of one reading, in address order from the first question on."""

    def __init__(self, load: Callable[[], Weighted]) -> None:
        self._load = load
        self._sorted: Weighted | None = None

    def inside(self, network: Network) -> Weighted:
        """Return the rows of one network, in address order."""
        if self._sorted is None:
            high, low, port, weight = self._load()
            order = sorting_order(high, low)
            self._sorted = high[order], low[order], port[order], weight[order]
        high, low, port, weight = self._sorted
        rows = rows_inside(high, low, network)
        return high[rows], low[rows], port[rows], weight[rows]


@dataclass(frozen=True, slots=True)
class Crowd:
    """All that one signal counts at the moment, but for what bans stop already."""

    rows: SortedRows
    held: BanFilter
    forgeable: bool

    def inside(self, network: Network, prefixlen: int, ports: Sequence[range]) -> Members:
        """Return the members of a network, cut at a prefix length, by what they have at these local ports."""
        high, low, port, weight = self.rows.inside(network)
        judged = in_ranges(port, ports) & ~self.held.stops(high, low, port, forgeable=self.forgeable)
        high, low, weight = high[judged], low[judged], weight[judged]
        runs = cut(high, low, network.version, prefixlen)
        value = np.add.reduceat(weight, runs.start) if len(runs) else np.empty(0, np.float64)
        return Members(runs, value, runs.end - runs.start, prefixlen)
