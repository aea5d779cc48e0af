"""Which rows an active ban stops already: there is nothing left to judge in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from synguard.columns import U16, U64
from synguard.detector.columns import is_ipv4, masks

_MIX: Final = np.uint64(0x9E3779B97F4A7C15)

Networks: TypeAlias = Mapping[tuple[int, int, int], tuple[U64, U64]]
"""(IP version, prefix length, local port or 0 for all) → first addresses (high, low) of such networks,
in the order of ``by_key``."""


@dataclass(frozen=True, slots=True)
class BanFilter:
    """The banned networks as columns, by how much of their traffic is stopped."""

    whole: Networks = field(default_factory=dict)
    """Everything is stopped (scope ``all``); the port is always 0."""
    new: Networks = field(default_factory=dict)
    """SYNs are stopped (scope ``new``)."""

    def stops(self, high: U64, low: U64, port: U16, *, forgeable: bool) -> npt.NDArray[np.bool_]:
        """Return which rows (bool, one per row) come from a network whose traffic of this kind is stopped.

        ``forgeable`` rows are SYNs and half-open sockets, which either scope stops; others only scope ``all`` does.
        """
        stopped = np.zeros(len(low), np.bool_)
        order = np.argsort(port, kind="stable")  # of thousands of ports each is held against its own rows alone
        in_order = port[order]
        for networks in (self.whole, self.new) if forgeable else (self.whole,):
            ports = np.array([only_port for _, _, only_port in networks], np.uint16)
            starts, ends = (np.searchsorted(in_order, ports, side).tolist() for side in ("left", "right"))
            for ((version, prefixlen, only_port), firsts), start, end in zip(
                networks.items(), starts, ends, strict=True
            ):
                if only_port == 0:
                    stopped |= within(high, low, firsts, version, prefixlen)
                elif start < end:
                    rows = order[start:end]
                    stopped[rows] |= within(high[rows], low[rows], firsts, version, prefixlen)
        return stopped


def within(high: U64, low: U64, firsts: tuple[U64, U64], version: int, prefixlen: int) -> npt.NDArray[np.bool_]:
    """Return which rows (bool, one per row) lie in one of the networks of this width that begin at ``firsts``.

    ``firsts`` are in the order of their keys; a row costs a search among them, however many they are.
    """
    first_high, first_low = firsts
    if not len(low) or not len(first_low):
        return np.zeros(len(low), np.bool_)
    high_mask, low_mask = masks(version, prefixlen)
    start_high, start_low = high & high_mask, low & low_mask
    at = np.searchsorted(keys_of(first_high, first_low), keys_of(start_high, start_low))
    at[at == len(first_low)] = 0
    inside = (first_low[at] == start_low) & (first_high[at] == start_high)
    return np.asarray(inside & (is_ipv4(high, low) == (version == 4)), np.bool_)


def by_key(high: U64, low: U64) -> tuple[U64, U64]:
    """Return first addresses in the order that ``within`` needs."""
    order = np.argsort(keys_of(high, low), kind="stable")
    return high[order], low[order]


def keys_of(high: U64, low: U64) -> U64:
    """Return one number for each pair. Two networks may share one, once in 2**64; then one is judged needlessly."""
    return low + high * _MIX
