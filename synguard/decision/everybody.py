"""Every source on a port as one target: for floods that come from everywhere, whose sources mean nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from synguard.addresses import Network
from synguard.decision.bans import ActiveBans
from synguard.decision.evaluator_state import EvaluatorState
from synguard.decision.prefix_aggregation import Offender
from synguard.decision.scores import ACT
from synguard.detector.assessment import Assessment, Dispersion
from synguard.detector.counting import MOST_PORTS
from synguard.detector.dispersion import EVERYWHERE, MOST_CARRYING
from synguard.model import Ban, Evidence, Scope, Signal
from synguard.policy.models import Policy

ALL_SOURCES: Final[dict[int, Network]] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}
LEAST_PPS: Final = 200.0
"""SYNs a second below which no one is challenged for the sum of them; a busy page brings as many for a moment."""
MOSTLY: Final = 0.5
"""Share of the ports of a flood that none of them carries by itself from which everybody on them is challenged."""


def everybody(
    assessment: Assessment, spoofed: str | None, policies: Collection[Policy], state: EvaluatorState, now: datetime
) -> Iterator[tuple[Offender, Policy]]:
    """Yield all sources of each attacked port, by IP version and policy, where a flood comes from everywhere.

    It need not be proven that sources are forged: a challenge refuses no one, so a full SYN queue suffices. A port with
    one is attacked, too, however small its share of the flood.
    """
    spread, challenge = assessment.dispersion, state.challenge
    if not challenge.works or spread is None or spread.networks < EVERYWHERE or spread.pps < LEAST_PPS:
        return
    if not spoofed and not _suffers(assessment):
        return
    heavy = assessment.pressed.union(spread.heavy_ports)
    left = [port for port in sorted(heavy.union(spread.ports)) if challenge.on((port,))]
    on_all = challenge.on(()) and all(map(_challenges, policies)) and any(map(_judges_all, policies))
    for policy in policies:
        ports = [port for port in left if policy.judges(port)]
        left = [port for port in left if port not in ports]
        limit = policy.limits.of(Signal.SYN_RATE)
        if not ports or limit is None or not _challenges(policy):
            continue
        for version in spread.versions:
            standing = _standing(state, version, now)
            for together in _by_ban(ports, heavy, standing, assessment.port_mapping, on_all=on_all):
                yield _all_of(version, together, limit, spread), policy


def _challenges(policy: Policy) -> bool:
    return policy.limits.of(Signal.SYN_RATE) is not None and "challenge" in policy.steps.of((Signal.SYN_RATE,))


def _judges_all(policy: Policy) -> bool:
    return any(1 in ports and 65535 in ports for ports in policy.port_ranges)


def _standing(state: EvaluatorState, version: int, now: datetime) -> list[Ban]:
    """Return the challenges of everybody that need no renewal yet."""
    return [
        ban
        for ban in state.active_bans.challenge_bans
        if ban.target == ALL_SOURCES[version] and ban.header is None and ban.active(now) and state.stands_long(ban, now)
    ]


def _by_ban(
    ports: Sequence[int],
    heavy: Collection[int],
    standing: Sequence[Ban],
    port_mapping: Mapping[int, tuple[int, ...]],
    *,
    on_all: bool,
) -> Iterator[tuple[int, ...]]:
    """Yield ports that one ban stands for, and those that none does, as many at a time as a ban names.

    Which ports of very many are the heaviest changes all the time: those with a small share are named until
    `MOST_CARRYING` are, and no others. None stands for all of them.
    """
    ban_of = {port: _first_covering(standing, port_mapping.get(port, (port,))) for port in ports}
    held = next((ban for ban in ban_of.values() if ban is not None), None)
    if held is not None:
        yield tuple(port for port in ports if ban_of[port] is held)[:MOST_PORTS]
    new = [port for port in ports if ban_of[port] is None]
    named = {port for ban in standing for port in ban.ports}.union(port for port in new if port in heavy)
    light = [port for port in new if port not in heavy][: max(0, MOST_CARRYING - len(named))]
    new = [port for port in new if port in heavy or port in light]
    if on_all and new and len(named.union(light)) > MOST_PORTS:
        yield ()
        return
    for first in range(0, len(new), MOST_PORTS):
        yield tuple(new[first : first + MOST_PORTS])


def _first_covering(standing: Iterable[Ban], ports: tuple[int, ...]) -> Ban | None:
    """Return a ban of all that must be closed for a port; none stands for all ports."""
    return next((ban for ban in standing if not ban.ports or (ports and set(ports) <= set(ban.ports))), None)


class ChallengeOfEverybody:
    """For how long everybody has been challenged: ahead of a queue that would suffer, the program answers."""

    def __init__(self) -> None:
        self._since: float | None = None

    def follow(self, active_bans: ActiveBans, assessment: Assessment, now: datetime) -> float:
        """Take in one tick; return for how many seconds everybody on the attacked ports has been challenged."""
        spread = assessment.dispersion
        stands = spread is not None and any(
            _covered(active_bans, version, spread.heavy_ports or spread.ports, now)
            >= (1.0 if spread.heavy_ports else MOSTLY)
            for version in spread.versions
        )
        self._since = (assessment.at if self._since is None else self._since) if stands else None
        return 0.0 if self._since is None else assessment.at - self._since


def _covered(active_bans: ActiveBans, version: int, ports: tuple[int, ...], now: datetime) -> float:
    """Return on which share of the ports everybody is challenged; none stands for all of them."""
    each = ((port,) for port in ports) if ports else ((),)
    bans = [active_bans.covering(ALL_SOURCES[version], Scope.NEW, one, now) for one in each]
    return sum(ban is not None for ban in bans) / len(bans)


def _suffers(assessment: Assessment) -> bool:
    return assessment.flood.overflowing or any(listener.censored for listener in assessment.pressure)


def _all_of(version: int, ports: tuple[int, ...], limit: float, spread: Dispersion) -> Offender:
    evidence = Evidence(Signal.SYN_RATE, spread.pps, limit, ports, sources=spread.sources)
    where = f"{spread.pps:,.0f} SYN/s from {spread.sources:,} addresses in {spread.networks:,} networks"
    listed = ", ".join(map(str, ports))
    return Offender(
        target=ALL_SOURCES[version],
        score=ACT,
        evidence=(evidence,),
        addresses=spread.sources,
        everybody=f"everybody on {f'port {listed}' if ports else 'all ports'}: {where}",
    )
