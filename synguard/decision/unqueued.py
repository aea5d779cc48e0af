"""Floods that fill no SYN queue: to ports that nothing listens on, or from hosts that answer with resets; no I/O."""

from __future__ import annotations

from typing import Final, NamedTuple

from synguard.detector.assessment import Assessment
from synguard.model import FloodKind

NOTABLE_PPS: Final = 1_000.0
"""Packets a second over the last second; a port scan brings some hundred for a moment."""


class Unqueued(NamedTuple):
    """A flood that no listener's queue shows."""

    kind: str
    """``closed-port`` or ``resets``."""
    pps: float
    text: str
    """One sentence."""
    flood: FloodKind


def unqueued_flood(assessment: Assessment) -> Unqueued | None:
    """Return the flood that the kernel's counters show although no SYN queue is full, or None."""
    handshakes = assessment.handshakes
    if handshakes.resets_pps >= NOTABLE_PPS:
        pps = handshakes.resets_pps
        text = f"resets: {pps:,.0f} SYNs a second come from hosts that answer with a reset; no SYN queue fills"
        return Unqueued("resets", pps, text, FloodKind.RESETS)
    if handshakes.refused_pps >= NOTABLE_PPS:
        pps = handshakes.refused_pps
        text = (
            f"closed port: {pps:,.0f} packets a second come to ports that nothing listens on, or to no connection; "
            "the kernel answers with resets"
        )
        return Unqueued("closed-port", pps, text, FloodKind.CLOSED_PORT)
    return None
