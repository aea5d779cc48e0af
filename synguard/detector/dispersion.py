"""How a flood's sources spread: many addresses from everywhere, each seen once, are forged, not a crowd."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Network
from typing import Final

import numpy as np
import numpy.typing as npt

from synguard.addresses import EMBEDDING
from synguard.columns import U16, U64
from synguard.detector.assessment import Dispersion
from synguard.detector.columns import as_judged, cut, is_ipv4, sorting_order
from synguard.detector.fingerprint import fingerprint

Counts = npt.NDArray[np.int64]

SPREAD_PREFIX: Final = {4: 16, 6: 32}
"""The networks that are counted: about what one real operator holds."""
EVERYWHERE: Final = 32
"""Distinct such networks from which a flood comes at least that comes from everywhere."""
CARRIES: Final = 0.1
"""Share of a flood from which a port or an IP version is said to carry it."""
MANY_PPS: Final = 1_000.0
"""SYNs a second that carry a flood, however small a share of it they are."""
MOST_CARRYING: Final = 60
"""Ports that are said to carry a flood at most."""
LOUD_SHARE: Final = 1000
"""A source with more than one in this many of the SYNs is loud enough to be judged by itself."""


def dispersion(
    high: U64,
    low: U64,
    port: U16 | None = None,
    *,
    headers: U64 | None = None,
    pps: float = 0.0,
    count: Counts | None = None,
    embedding: Iterable[IPv6Network] = EMBEDDING,
) -> Dispersion | None:
    """Return how addresses, one row a SYN or half-open socket, spread, or None where there are none.

    ``headers`` is what ``fingerprint.headers`` made of each SYN, ``pps`` what all the rows stand for a second,
    ``count`` how many SYNs each row is, where that is not one. Addresses that embed IPv4 (``embedding``) are counted as
    the IPv4 addresses that they are; ``versions`` are those of the packets.
    """
    if not len(low):
        return None
    count = np.ones(len(low), np.int64) if count is None else count
    of_version = _by_version(high, low)
    high, low = as_judged(high, low, embedding)
    families = [
        _family(high, low, np.flatnonzero(rows), version, count)
        for version, rows in _by_version(high, low)
        if rows.any()
    ]
    total = int(count.sum())
    few = max(2, total // LOUD_SHARE)
    first_rows = np.concatenate([one.first_rows for one in families])
    ports, heavy_ports = ((), ()) if port is None else _carrying(port, count)
    return Dispersion(
        sources=sum(len(one.count) for one in families),
        networks=len(first_rows),
        scattered=sum(int(one.count[one.count <= few].sum()) for one in families) / total,
        pps=pps,
        fingerprint=None if headers is None else fingerprint(headers[first_rows]),
        ports=ports,
        heavy_ports=heavy_ports,
        versions=tuple(version for version, rows in of_version if _carries(int(count[rows].sum()) / total, pps)),
    )


def _by_version(high: U64, low: U64) -> tuple[tuple[int, npt.NDArray[np.bool_]], ...]:
    ipv4 = is_ipv4(high, low)
    return (4, ipv4), (6, ~ipv4)


def _carries(share: float, pps: float) -> bool:
    return share >= CARRIES or share * pps >= MANY_PPS


def _carrying(port: U16, count: Counts) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ports that carry all but hardly any of a flood, and those with a meaningful share each; ascending.

    A flood that is spread over very many ports gives none of them such a share.
    """
    carried = np.bincount(port, count)
    present = np.flatnonzero(carried)  # of all ports that there are, mostly a single one
    heaviest = present[np.argsort(-carried[present], kind="stable")[:MOST_CARRYING]]
    before = np.cumsum(carried[heaviest]) - carried[heaviest]
    meaningful = carried[heaviest] >= CARRIES * carried.sum()
    left = before < (1 - CARRIES) * carried.sum()
    return _ascending(heaviest[meaningful | left]), _ascending(heaviest[meaningful])


def _ascending(ports: npt.NDArray[np.intp]) -> tuple[int, ...]:
    return tuple(sorted(ports.tolist()))


@dataclass(frozen=True, slots=True)
class _Family:
    """The addresses of one IP version."""

    count: Counts
    """How often each came."""
    first_rows: npt.NDArray[np.intp]
    """One row of each network."""


def _family(high: U64, low: U64, rows: npt.NDArray[np.intp], version: int, count: Counts) -> _Family:
    rows = rows[sorting_order(high[rows], low[rows])]
    addresses = cut(high[rows], low[rows], version, 32 if version == 4 else 128)
    networks = cut(addresses.high, addresses.low, version, SPREAD_PREFIX[version])
    return _Family(addresses.sums(count[rows]), rows[addresses.start[networks.start]])
