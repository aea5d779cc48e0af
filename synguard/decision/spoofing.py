"""Telling a crowd from one liar."""

from __future__ import annotations

from typing import Final

from synguard.detector.assessment import Assessment

MOST_COMPLETED: Final = 0.1
"""Share of SYNs that become connections; honest crowds are near 1, forged sources near 0."""
SCATTERED: Final = 0.5
"""Share of the SYNs whose address came once or twice, or is lost in the crowd (`Dispersion.scattered`)."""
NETWORKS: Final = 32
"""Distinct /16 (IPv6 /32) networks from which it comes at least."""
MEANINGFUL_SHARE: Final = 0.1
"""Under a forged flood a prefix is stopped only if it carries this much of it; less buys nothing."""


def spoofed_reason(assessment: Assessment) -> str | None:
    """Return why the flood's sources look forged, in one sentence with the numbers, or None where they do not.

    Three things together: the listeners suffer, the sources are spread with most of them seen once, and
    handshakes complete for almost none.
    """
    spread, flood = assessment.dispersion, assessment.flood
    suffers = flood.overflowing or any(listener.censored for listener in assessment.pressure)
    if spread is None or not suffers or spread.scattered < SCATTERED or spread.networks < NETWORKS:
        return None
    offered = max(flood.syn_pps, flood.cookies_sent_pps + flood.dropped_pps)
    completed = flood.completed_pps / offered if offered else 0.0
    if completed > MOST_COMPLETED:
        return None
    return (
        f"spoofed: about {offered:,.0f} SYN/s from {spread.sources:,} addresses in {spread.networks:,} networks, "
        f"{spread.scattered:.0%} of the SYNs from addresses hardly seen; {completed:.1%} complete a handshake"
    )
