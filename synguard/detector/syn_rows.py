"""Sampled SYNs as rows that are counted."""

from __future__ import annotations

from synguard.detector.columns import is_ipv4
from synguard.detector.counting import AddressRows
from synguard.detector.fingerprint import headers
from synguard.readings import SynSample


def syn_rows(syns: SynSample) -> AddressRows:
    """Return sampled SYNs as rows; those that were lost are taken to be like those of their family that were read."""
    ipv4 = is_ipv4(syns.source_high, syns.source_low)
    window_s = max(syns.window_s, 1e-3)
    count = syns.count
    read4 = int(count[ipv4].sum())
    read6 = int(count.sum()) - read4
    weight4 = syns.one_in * (1 + (syns.lost - syns.lost_ipv6) / max(read4, 1)) / window_s
    weight6 = syns.one_in * (1 + syns.lost_ipv6 / max(read6, 1)) / window_s
    return AddressRows(
        syns.source_high,
        syns.source_low,
        syns.local_port,
        weight4,
        sampled=True,
        weight6=weight6,
        header=headers(syns),
        at=syns.at,
        counted=count,
        of_banned=syns.of_banned,
    )
