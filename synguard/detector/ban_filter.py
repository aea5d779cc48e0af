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
_TOP: Final = np.uint64(0xFFFF << 48)
_PORT_BITS: Final = np.uint64(16)

Firsts: TypeAlias = tuple[U64, U64, U64]
"""Keys of networks, in order, and both halves of their first addresses."""
Networks: TypeAlias = Mapping[tuple[int, int, bool, bool], Firsts]
"""(IP version, prefix length, whether single ports are closed, whether to served clients too) → such networks."""


@dataclass(frozen=True, slots=True)
class BanFilter:
    """The banned networks as columns, by how much of their traffic is stopped."""

    whole: Networks = field(default_factory=dict)
    """Everything is stopped (scope ``all``), on all ports."""
    new: Networks = field(default_factory=dict)
    """SYNs are stopped (scope ``new``)."""

    def stops(self, high: U64, low: U64, port: U16, *, forgeable: bool) -> npt.NDArray[np.bool_]:
        """Return which rows (bool, one per row) come from a network whose traffic of this kind is stopped.

        ``forgeable`` rows are SYNs and half-open sockets, which either scope stops; others only scope ``all`` does.
        """
        stopped, ipv4 = np.zeros(len(low), np.bool_), is_ipv4(high, low)
        there = {4: ipv4.any(), 6: not ipv4.all()}
        for networks in (self.whole, self.new) if forgeable else (self.whole,):
            for (version, prefixlen, by_port, _), firsts in networks.items():
                if there[version]:
                    stopped |= within(high, low, firsts, version, prefixlen, port if by_port else None)
        return stopped


def within(
    high: U64, low: U64, firsts: Firsts, version: int, prefixlen: int, port: U16 | None = None
) -> npt.NDArray[np.bool_]:
    """Return which rows (bool, one per row) lie in one of the networks of this width, and at a port that it closes.

    Without ``port`` the ports do not matter. A row costs a search among the networks, however many they are.
    """
    keys, first_high, first_low = firsts
    if not len(low) or not len(keys):
        return np.zeros(len(low), np.bool_)
    high_mask, low_mask = masks(version, prefixlen)
    start_high, start_low = high & high_mask, low & low_mask
    wanted = keys_of(start_high, start_low, port)
    at = np.searchsorted(keys, wanted)
    at[at == len(keys)] = 0
    inside = (first_low[at] == start_low) & (first_high[at] == start_high)
    if port is not None:
        inside &= keys[at] == wanted
    return np.asarray(inside & (is_ipv4(high, low) == (version == 4)), np.bool_)


def by_key(high: U64, low: U64) -> Firsts:
    """Return networks that begin at these addresses as ``within`` needs them."""
    keys = keys_of(high, low)
    order = np.argsort(keys, kind="stable")
    return keys[order], high[order], low[order]


def keys_of(high: U64, low: U64, port: U16 | None = None) -> U64:
    """Return one number for each address and port, behind the one of the address alone and before the next address.

    Those of IPv4 are in the order of the addresses. Two of IPv6 may share one, once in 2**48; then one is judged
    needlessly.
    """
    keys = low + ((high ^ low & _TOP) * _MIX >> _PORT_BITS) << _PORT_BITS
    return keys if port is None else keys | port
