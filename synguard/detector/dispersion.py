"""How a flood's sources spread: many addresses seen once from everywhere are one liar, not a crowd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from synguard.detector.assessment import Dispersion
from synguard.detector.columns import cut, is_ipv4, sorting_order
from synguard.readings import U64

SPREAD_PREFIX: Final = {4: 16, 6: 32}
"""The networks that are counted: about what one real operator holds."""

LOUD_SHARE: Final = 1000
"""A source with more than one in this many of the SYNs is loud enough to be judged by itself."""


def dispersion(columns: Sequence[tuple[U64, U64]]) -> Dispersion | None:
    """Return how addresses given as (high, low) columns spread, or None where there are none."""
    high = np.concatenate([high for high, _ in columns]) if columns else np.empty(0, np.uint64)
    low = np.concatenate([low for _, low in columns]) if columns else np.empty(0, np.uint64)
    if not len(high):
        return None
    few = max(2, len(high) // LOUD_SHARE)
    ipv4 = is_ipv4(high, low)
    sources = networks = rare = 0
    for version, chosen in ((4, ipv4), (6, ~ipv4)):
        family_high, family_low = high[chosen], low[chosen]
        order = sorting_order(family_high, family_low)
        family_high, family_low = family_high[order], family_low[order]
        addresses = cut(family_high, family_low, version, 32 if version == 4 else 128)
        count = addresses.end - addresses.start
        sources += len(addresses)
        rare += int(count[count <= few].sum())
        networks += len(cut(addresses.high, addresses.low, version, SPREAD_PREFIX[version]))
    return Dispersion(samples=len(high), sources=sources, networks=networks, scattered=rare / len(high))
