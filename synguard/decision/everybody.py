"""Every source on a port as one target: for floods that come from everywhere, whose sources mean nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from synguard.addresses import Network
from synguard.decision.bans import ActiveBans
from synguard.decision.ladder import ChallengeState
from synguard.decision.prefix_aggregation import Offender
from synguard.decision.scores import ACT
from synguard.detector.assessment import Assessment, Dispersion
from synguard.detector.counting import MOST_PORTS
from synguard.detector.dispersion import EVERYWHERE
from synguard.model import Evidence, Scope, Signal
from synguard.policy.models import Policy

ALL_SOURCES: Final[dict[int, Network]] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}
LEAST_PPS: Final = 200.0
"""SYNs a second below which no one is challenged for the sum of them; a busy page brings as many for a moment."""


def everybody(
    assessment: Assessment, spoofed: str | None, policies: Iterable[Policy], challenge: ChallengeState
) -> Iterator[tuple[Offender, Policy]]:
    """Yield all sources of each attacked port, by IP version and policy, where a flood comes from everywhere.

    It need not be proven that sources are forged: a challenge refuses no one, so a full SYN queue suffices. A port with
    one is attacked, too, however small its share of the flood.
    """
    spread = assessment.dispersion
    if not challenge.works or spread is None or spread.networks < EVERYWHERE or spread.pps < LEAST_PPS:
        return
    if not spoofed and not _suffers(assessment):
        return
    left = [port for port in sorted(assessment.pressed.union(spread.ports)) if challenge.on((port,))]
    for policy in policies:
        ports = tuple(port for port in left if policy.judges(port))
        left = [port for port in left if port not in ports]
        limit = policy.limits.of(Signal.SYN_RATE)
        if ports and limit is not None and "challenge" in policy.steps.of((Signal.SYN_RATE,)):
            for version in spread.versions:
                for first in range(0, len(ports), MOST_PORTS):
                    yield _all_of(version, ports[first : first + MOST_PORTS], limit, spread), policy


class ChallengeOfEverybody:
    """For how long everybody has been challenged: ahead of a queue that would suffer, the program answers."""

    def __init__(self) -> None:
        self._since: float | None = None

    def follow(self, active_bans: ActiveBans, assessment: Assessment, now: datetime) -> float:
        """Take in one tick; return for how many seconds everybody on the attacked ports has been challenged."""
        spread = assessment.dispersion
        stands = spread is not None and any(
            all(active_bans.covering(ALL_SOURCES[version], Scope.NEW, ports, now) for ports in _each(spread.ports))
            for version in spread.versions
        )
        self._since = (assessment.at if self._since is None else self._since) if stands else None
        return 0.0 if self._since is None else assessment.at - self._since


def _each(ports: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return ports one by one; none stands for all of them."""
    return [(port,) for port in ports] or [()]


def _suffers(assessment: Assessment) -> bool:
    return assessment.flood.overflowing or any(listener.censored for listener in assessment.pressure)


def _all_of(version: int, ports: tuple[int, ...], limit: float, spread: Dispersion) -> Offender:
    evidence = Evidence(Signal.SYN_RATE, spread.pps, limit, ports, sources=spread.sources)
    where = f"{spread.pps:,.0f} SYN/s from {spread.sources:,} addresses in {spread.networks:,} networks"
    return Offender(
        target=ALL_SOURCES[version],
        score=ACT,
        evidence=(evidence,),
        addresses=spread.sources,
        everybody=f"everybody on port {', '.join(map(str, ports))}: {where}",
    )
