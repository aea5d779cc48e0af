"""Address columns are sorted the same way whatever they hold: by address, rows of one address as they stood."""

from __future__ import annotations

import numpy as np
import pytest

from synguard.addresses import V4_PREFIX
from synguard.detector.columns import sorting_order

MAPPED = V4_PREFIX << 32


@pytest.mark.parametrize(
    ("high", "low"),
    [
        ([], []),
        ([0, 0, 0, 0], [MAPPED | 9, MAPPED | 0xFFFF_FFFF, MAPPED | 9, MAPPED]),
        ([0, 0, 0], [MAPPED | 9, 5, MAPPED | 9]),
        ([7, 7, 7], [1 << 63, 1, 1 << 63]),
        ([9, 7, 9], [1, 5, 1]),
    ],
    ids=["none", "IPv4", "IPv4 and others", "one IPv6 network", "several"],
)
def test_rows_come_in_address_order_and_stay_in_their_own_where_addresses_are_alike(
    high: list[int], low: list[int]
) -> None:
    order = sorting_order(np.array(high, np.uint64), np.array(low, np.uint64))
    assert order.dtype == np.intp
    assert order.tolist() == sorted(range(len(low)), key=lambda row: (high[row], low[row], row))
