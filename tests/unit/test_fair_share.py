"""Fair shares: the small ones stay whole, the large ones are cut alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synguard.detector.fair_share import fair_share


def test_sixteen_heavy_ones_are_cut_and_forty_light_ones_are_not() -> None:
    assert fair_share(np.array([395.0] * 16 + [1.0] * 40), 6000) == pytest.approx((6000 - 40) / 16)


def test_what_fits_is_cut_nowhere() -> None:
    assert fair_share(np.array([3.0, 4.0]), 7) == float("inf")
    assert fair_share(np.array([], np.float64), 7) == float("inf")


@given(st.lists(st.floats(0.1, 1000), min_size=1, max_size=30), st.floats(0.1, 10_000))
def test_cut_to_the_share_the_sum_is_the_capacity(amounts: list[float], capacity: float) -> None:
    values = np.array(amounts)
    share = fair_share(values, capacity)
    assert np.minimum(values, share).sum() == pytest.approx(min(capacity, values.sum()))
