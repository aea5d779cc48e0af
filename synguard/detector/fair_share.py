"""Max-min fair shares: what each of many may have of something scarce, if the small ones are served first."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def fair_share(amounts: npt.NDArray[np.float64], capacity: float) -> float:
    """Return the level to which the largest amounts must be cut for the sum to fit; infinite where all of it fits.

    Amounts below the level stay whole, so that a small one never pays for a large one.
    """
    if float(amounts.sum()) <= capacity:
        return float("inf")
    ascending = np.sort(amounts)
    smaller = np.concatenate(([0.0], np.cumsum(ascending)[:-1]))
    sharing = np.arange(len(ascending), 0, -1)
    first = int(np.argmax(smaller + ascending * sharing > capacity))
    return float((capacity - smaller[first]) / sharing[first])
