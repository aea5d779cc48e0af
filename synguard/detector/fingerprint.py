"""Whether the SYNs of many networks were made by one tool: their headers tell what a forged address cannot.

A crowd's TTLs are scattered, since every path to here has its own length, and its windows and options are those of many
systems. A tool that forges addresses sits in one place: it sends one TTL for all the world, or draws it at random,
which gives values that no path leaves over.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from synguard.columns import U8, U64
from synguard.detector.assessment import Fingerprint
from synguard.readings import SynSample

SAME_HEADER_SHARE: Final = 0.5
"""Share of the networks that send one and the same TTL, window and options, from which it is one tool's header. Of a
crowd that comes over paths of every length from systems of every kind, the commonest combination has some percent."""
LONGEST_PATH: Final = 40
"""Hops: few paths have more than 30, and a TTL further below what systems begin with (64, 128, 255) is odd."""
_FIRST_TTLS: Final = (64, 128, 255)
_ODD: Final = np.array([not any(0 <= first - ttl <= LONGEST_PATH for first in _FIRST_TTLS) for ttl in range(256)])


def headers(sample: SynSample) -> U64:
    """Return TTL, window and options of each SYN as one number."""
    high = sample.ttl.astype(np.uint64) << np.uint64(48) | sample.tcp_window.astype(np.uint64) << np.uint64(32)
    return high | sample.options


def fingerprint(one_each: U64) -> Fingerprint | None:
    """Return what headers, one for each network, have in common; None where there are none."""
    if not len(one_each):
        return None
    distinct, counts = np.unique(one_each, return_counts=True)
    commonest = int(distinct[counts.argmax()])
    ttls: U8 = (one_each >> np.uint64(48)).astype(np.uint8)
    return Fingerprint(
        share=float(counts.max() / len(one_each)),
        ttl=commonest >> 48,
        tcp_window=commonest >> 32 & 0xFFFF,
        options=commonest & 0xFFFF_FFFF,
        odd_ttl=float(_ODD[ttls].mean()),
    )
