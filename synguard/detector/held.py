"""Which rows a standing ban stops already: there is nothing left to judge in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from synguard.detector.columns import is_ipv4, masks
from synguard.readings import U16, U64

Networks: TypeAlias = Mapping[tuple[int, int, int], tuple[U64, U64]]
"""(IP version, prefix length, local port or 0 for all) → first addresses (high, low) of such networks."""


@dataclass(frozen=True, slots=True)
class Held:
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
        for networks in (self.whole, self.new) if forgeable else (self.whole,):
            for (version, prefixlen, only_port), (first_high, first_low) in networks.items():
                high_mask, low_mask = masks(version, prefixlen)
                inside = np.isin(low & low_mask, first_low)
                if inside.any():
                    inside &= np.isin(high & high_mask, first_high)
                    inside &= is_ipv4(high, low) == (version == 4)
                    stopped |= inside if only_port == 0 else inside & (port == only_port)
        return stopped
