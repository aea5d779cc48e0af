"""Decides whether a flood's sources are forged, or a real crowd."""

from __future__ import annotations

import math
from typing import Final

from synguard.detector.assessment import Assessment, Dispersion, Fingerprint, Handshakes
from synguard.detector.dispersion import EVERYWHERE
from synguard.detector.fingerprint import SAME_HEADER_SHARE

JUDGED_AFTER_S: Final = 1.0
"""A queue must have suffered for so long: an honest answer takes up to a round trip to come back, and SYNs whose
answers are still under way look like SYNs from addresses that no host has."""
MOST_COMPLETED: Final = 0.1
"""Share of SYNs that become connections; honest crowds are near 1, forged sources near 0."""
TURNOVER: Final = 0.5
"""Handshakes a second for each place in a full queue that keeps no cookies: clients leave it within a round trip, so
that it turns over many times a second; forged SYNs stay until the kernel gives up on them."""
UNHEARD: Final = 0.1
"""Share of the SYNs that a full accept queue may turn away; beyond it the application is why handshakes fail."""
SCATTERED: Final = 0.5
"""Share of the SYNs whose address came once or twice, or is lost in the crowd (`Dispersion.scattered`)."""
SCATTERED_AND_DENIED: Final = 0.25
"""The same where more hosts deny by a reset that they asked than complete a handshake."""
ODD_TTLS: Final = 0.25
"""Share of the networks with a TTL that no system sends and no path leaves over; drawn at random, two thirds are."""
MEANINGFUL_SHARE: Final = 0.1
"""Under a forged flood a prefix is stopped only if it carries this much of it; less buys nothing."""


def spoofed_reason(assessment: Assessment, challenged_s: float = 0.0) -> str | None:
    """Return why the flood's sources look forged, in one sentence with the numbers, or None where they do not.

    Four things together: a queue has suffered for a while, the sources are everywhere, almost no handshake completes
    although the application accepts, and either the addresses or the headers are such as only a flooding tool sends.
    ``challenged_s`` is for how many seconds everybody has been challenged: no queue suffers then.
    """
    spread, handshakes = assessment.dispersion, assessment.handshakes
    if spread is None or spread.networks < EVERYWHERE or max(handshakes.suffering_s, challenged_s) < JUDGED_AFTER_S:
        return None
    offered = max(spread.pps, handshakes.cookies_sent_pps + handshakes.dropped_pps)
    if not offered or _answered(assessment, offered):
        return None
    grounds = [*_of_addresses(spread, handshakes), *_of_headers(spread.fingerprint)]
    if not grounds:
        return None
    fate = _fate(handshakes, offered, challenged_s > 0)
    where = f"{spread.sources:,} addresses in {spread.networks:,} networks"
    return f"spoofed: about {_about(offered):,.0f} SYN/s from {where}, {', '.join(grounds)}; {fate}"


def _about(pps: float) -> float:
    """Return a rate with the two digits that sampling and the pace of reading leave certain."""
    return round(pps, 1 - math.floor(math.log10(pps)))


def _answered(assessment: Assessment, offered: float) -> bool:
    """Return whether the SYNs are answered for, or might be if the application accepted them."""
    handshakes = assessment.handshakes
    if handshakes.completed_pps > MOST_COMPLETED * offered or handshakes.accept_overflows_pps > UNHEARD * offered:
        return True
    if handshakes.cookies_sent_pps or single_generator(assessment.dispersion):
        return False
    places = sum(listener.backlog for listener in assessment.pressure if listener.censored)
    return bool(places) and handshakes.completed_pps >= TURNOVER * places


def single_generator(spread: Dispersion | None) -> bool:
    """Return whether SYNs that come from everywhere bear the headers of one tool."""
    return spread is not None and spread.networks >= EVERYWHERE and bool(_of_headers(spread.fingerprint))


def _of_addresses(spread: Dispersion, handshakes: Handshakes) -> list[str]:
    denied = handshakes.resets_pps > handshakes.completed_pps
    if spread.scattered < (SCATTERED_AND_DENIED if denied else SCATTERED):
        return []
    return [f"{spread.scattered:.0%} of the SYNs from addresses hardly seen"]


def _of_headers(fingerprint: Fingerprint | None) -> list[str]:
    if fingerprint is None:
        return []
    if fingerprint.share >= SAME_HEADER_SHARE:
        header = f"TTL {fingerprint.ttl}, window {fingerprint.tcp_window}"
        return [f"{fingerprint.share:.0%} of the networks send the header of one tool ({header})"]
    if fingerprint.odd_ttl >= ODD_TTLS:
        return [f"{fingerprint.odd_ttl:.0%} of the networks with a TTL that no path leaves over"]
    return []


def _fate(handshakes: Handshakes, offered: float, challenged: bool) -> str:
    """Return what became of the SYNs; those that challenges answer are in no count of cookies sent."""
    fate = [f"{min(handshakes.completed_pps / offered, 1):.1%} complete a handshake"]
    if handshakes.cookies_sent_pps:
        sent = "" if challenged else f"of {handshakes.cookies_sent_pps:,.0f} "
        fate.append(f"{handshakes.cookies_received_pps:,.0f} {sent}SYN cookies a second come back")
    if handshakes.resets_pps >= 1:
        fate.append(f"{handshakes.resets_pps:,.0f} hosts a second reset the answer: they sent no SYN")
    return ", ".join(fate)
