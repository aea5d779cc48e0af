"""Detection delay against excess, and false alarms an hour, beside the published CUSUM on the same synthetic traces.

No kernel and no root: traces are drawn, the detector and the engine of this project read them tick by tick, and the
published detector reads the same SYNs and FINs in periods of 10 and 20 s. Prints figures and asserts only what must
hold on any machine. The sampler is taken to run all the time, also while calm, which is harder than it will ever be.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest

from synguard.addresses import V4_PREFIX
from synguard.decision.engine import Engine
from synguard.detector.detector import Detector
from synguard.model import Mode, Signal
from synguard.policy.load import load_policies
from synguard.policy.models import Config
from synguard.readings import Protected, Readings, SynSample
from tests.bench.published_cusum import alarms, per_period

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

SHORT = bool(os.environ.get("SHORT"))
HOURS: Final = 0.25 if SHORT else 2.0
REPEATS: Final = 3 if SHORT else 20
EXCESSES: Final = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
PERIODS_S: Final = (10.0, 20.0)
WARM_UP_S: Final = 60.0
TICK_S: Final = 0.05
CONNECTIONS_S: Final = 1.0
"""How often completed connections are read by themselves; the engine asks for a look in between."""
ROUND_TRIP_S: Final = 0.1
SEEN_S: Final = 4.0
"""How long a connection is there to be seen."""
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ATTACKER: Final = V4_PREFIX << 32 | 0xC6336407

Times = npt.NDArray[np.float64]
Sources = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Trace:
    """SYNs in order of time; FINs of the connections they opened."""

    at: Times
    source: Sources
    fins: Times
    seconds: float

    def answered(self, now: float) -> Sources:
        """Return whose handshakes of the last seconds are complete at ``now``: everybody's but the flooder's."""
        first, last = np.searchsorted(self.at, [now - SEEN_S, now - ROUND_TRIP_S])
        sources = np.unique(self.source[first:last])
        return sources[sources != ATTACKER]

    def with_flood(self, pps: float, begins: float, chance: np.random.Generator) -> Trace:
        """Return the trace with a source that sends SYNs, and no FIN, from ``begins`` to the end."""
        flood = begins + _arrivals(np.full(int(self.seconds - begins), pps), chance)
        at = np.concatenate([self.at, flood])
        order = np.argsort(at, kind="stable")
        source = np.concatenate([self.source, np.full(len(flood), ATTACKER, np.uint64)])
        return Trace(at[order], source[order], self.fins, self.seconds)


def _arrivals(rates: npt.NDArray[np.float64], chance: np.random.Generator) -> Times:
    """Return Poisson arrivals whose rate is given for each second."""
    counts = chance.poisson(rates)
    return np.repeat(np.arange(len(rates), dtype=np.float64), counts) + chance.random(int(counts.sum()))


def honest(rates: npt.NDArray[np.float64], people: int, chance: np.random.Generator, bursts: float = 0.0) -> Trace:
    """Return clients whose connections last some seconds; ``bursts`` a second come from single addresses.

    A burst is an office behind one address that loads a page: up to 600 connections within two seconds.
    """
    at = _arrivals(rates, chance)
    source = chance.integers(0, people, len(at)).astype(np.uint64) * np.uint64(2_654_435_761 & 0xFFFF_FFFF)
    parts, owners = [at], [source & np.uint64(0xFFFF_FFFF)]
    for begin in _arrivals(np.full(len(rates), bursts), chance):
        size = int(chance.integers(50, 600))
        parts.append(np.minimum(begin + 2 * chance.random(size), len(rates) - 1e-3))
        owners.append(np.full(size, chance.integers(0, 20) + 0x0A000000, np.uint64))
    at, source = np.concatenate(parts), np.concatenate(owners) | np.uint64(V4_PREFIX << 32)
    order = np.argsort(at, kind="stable")
    fins = at + chance.exponential(4.0, len(at))
    return Trace(at[order], source[order], fins[fins < len(rates)], float(len(rates)))


def day(kind: str, seconds: int, chance: np.random.Generator) -> Trace:
    """Return legitimate traffic; the diurnal day of 24 hours is pressed into the trace, from night to noon and back."""
    if kind == "quiet":
        return honest(np.full(seconds, 5.0), 50, chance)
    if kind == "diurnal":
        return honest(100 - 95 * np.cos(np.linspace(0, 2 * np.pi, seconds)), 2000, chance)
    surges = np.repeat(chance.choice([20.0, 60.0, 400.0], seconds // 10 + 1, p=[0.6, 0.3, 0.1]), 10)[:seconds]
    return honest(surges, 2000, chance, bursts=0.02)


class Watch:
    """Detector and engine with the default pack, fed with every SYN."""

    def __init__(self) -> None:
        config = Config(mode=Mode.ENFORCE)
        policies = load_policies(config)
        chance = random.Random(1)  # jitter is no secret
        self.detector = Detector(policies, seed=1)
        self.engine = Engine(config, policies, new_id=lambda: f"{chance.getrandbits(32):08x}", chance=chance)
        self.engine.evaluator_state.protect(Protected({}))
        self.wants_proof = False

    def tick(self, now: float, since: float, source: Sources, answered: Sources | None) -> int:
        """Take in one tick's SYNs, and whose handshakes completed where that is read; return how many are banned."""
        n = len(source)
        sample = SynSample(
            at=now,
            window_s=now - since,
            one_in=1,
            source_high=np.zeros(n, np.uint64),
            source_low=source,
            local_port=np.full(n, 443, np.uint16),
            ttl=np.full(n, 57, np.uint8),
            tcp_window=np.full(n, 64240, np.uint16),
            options=np.ones(n, np.uint32),
            more=np.zeros(n, np.uint32),
        )
        moment = NOON + timedelta(seconds=now)
        proven = None if answered is None else (np.zeros(len(answered), np.uint64), answered)
        readings = Readings(at=now, syns=sample, proven=proven)
        assessment = self.detector.assess(readings, self.engine.evaluator_state.active_bans.ban_filter(moment))
        decision = self.engine.decide(assessment, moment)
        self.wants_proof = decision.wants_proof
        return len(decision.bans)


def ours(trace: Trace, since: float = 0.0, stop_at_first: bool = False) -> list[float]:
    """Return when a ban was decided on."""
    watch, found = Watch(), list[float]()
    ticks = np.arange(since, trace.seconds, TICK_S)
    edges = np.searchsorted(trace.at, ticks).tolist()
    for tick, (begin, end) in enumerate(pairwise(ticks.tolist())):
        looks = watch.wants_proof or tick % round(CONNECTIONS_S / TICK_S) == 0
        answered = trace.answered(end) if looks else None
        bans = watch.tick(end, begin, trace.source[edges[tick] : edges[tick + 1]], answered)
        found += [end] * bans
        if found and stop_at_first:
            break
    return found


def published(trace: Trace, period_s: float) -> Times:
    """Return the ends of the periods at which the published alarm goes on."""
    on = alarms(per_period(trace.at, period_s, trace.seconds), per_period(trace.fins, period_s, trace.seconds))
    rises = on & ~np.concatenate([[False], on[:-1]])
    return (np.flatnonzero(rises) + 1) * period_s


def limit() -> float:
    """Return the SYNs a second that the default pack allows a source."""
    [policy] = load_policies(Config())
    return policy.limits.of(Signal.SYN_RATE) or 0.0


def told(delays: list[float]) -> str:
    median = float(np.median(delays))
    return "   never" if np.isinf(median) else f"{median:7.2f} s"


def test_detection_delay_against_excess() -> None:
    """One source among the clients of a site with 100 new connections a second; the limit is the default pack's."""
    print(
        f"\ndelay of one source over its limit of {limit():g} SYN/s, 100/s of honest ones beside it, {REPEATS} traces"
    )
    print("   excess        synguard (worst)   published, 10 s   published, 20 s")
    for excess in EXCESSES:
        mine: list[float] = []
        others: dict[float, list[float]] = {period: [] for period in PERIODS_S}
        for seed in range(REPEATS):
            chance = np.random.default_rng(1000 * seed + int(excess * 10))
            begins = WARM_UP_S + float(chance.uniform(0, 20))
            base = honest(np.full(400, 100.0), 2000, chance)
            trace = base.with_flood(excess * limit(), begins, chance)
            found = ours(trace, since=begins - 2, stop_at_first=True)
            mine.append(found[0] - begins if found else np.inf)
            for period in PERIODS_S:
                late = [at for at in published(trace, period) if at > begins]
                others[period].append(late[0] - begins if late else np.inf)
        print(
            f"  {excess:6.2f}x        {told(mine)} ({told([max(mine)]).strip()})        "
            f"{told(others[10.0])}          {told(others[20.0])}",
            flush=True,
        )
        assert np.isfinite(mine).all()


@pytest.mark.parametrize("kind", ["quiet", "diurnal", "bursty"])
def test_false_alarms_an_hour(kind: str) -> None:
    trace = day(kind, int(HOURS * 3600), np.random.default_rng(7))
    mine = len(ours(trace))
    others = {period: len(published(trace, period)) for period in PERIODS_S}
    print(
        f"\n{kind}: {len(trace.at):,} SYNs in {HOURS:g} h; false alarms an hour: synguard {mine / HOURS:g}, "
        + ", ".join(f"published over {period:g} s {count / HOURS:g}" for period, count in others.items())
    )
    assert mine == 0
