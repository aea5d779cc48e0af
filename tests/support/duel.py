"""Attackers against detector and decision, on a manual clock: no ledger, no kernel, a second in some milliseconds.

A mix of attackers is drawn at random; the host is a listener with 128 places that SYN cookies carry beyond, or do not.
What a ban stops fills no queue and holds no connection any more; SYNs are seen on the wire all the same.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final, Literal

from synguard.addresses import Address, Network
from synguard.decision.engine import Decision, Engine
from synguard.decision.ladder import ChallengeState
from synguard.detector.detector import Detector
from synguard.model import Ban, Mode, Scope
from synguard.policy.models import Config, Limits, Policy, Proven
from synguard.readings import Readings
from tests.support.manual_clock import ManualClock
from tests.support.scene import FakeSensors, Weather
from tests.support.traffic import forged, natural

PLACES: Final = 128
TICK_S: Final = 0.1
POLICY: Final = Policy(
    name="default",
    limits=Limits(half_open=64, syn_rate=100, connections=400, connection_rate=50),
    prefix_limits=Limits(half_open=256, syn_rate=1000, connections=6000, connection_rate=300),
)
AT_MOST: Final = 200
"""Places in the table of proven peers here."""


@dataclass(frozen=True, slots=True)
class Attacker:
    """One who does one thing, from ``begins`` on and, where ``pulse_s`` is given, on and off."""

    kind: Literal["forges-one", "forges-prefix", "forges-everywhere", "floods", "holds", "primes"]
    network: str
    sources: int
    size: float
    """SYNs a second of all its sources together, connections of each, or handshakes a second."""
    begins_s: float = 0.0
    pulse_s: float = 0.0

    def acts(self, at: float) -> bool:
        """Return whether it is at work ``at`` seconds after the beginning."""
        past = at - self.begins_s
        return past >= 0 and (not self.pulse_s or int(past / self.pulse_s) % 2 == 0)

    @property
    def addresses(self) -> list[str]:
        """The addresses that it uses, real or forged."""
        network = ip_network(self.network)
        step = max(1, network.num_addresses // (self.sources + 1))
        if network.version == 6:
            step = max(1 << 64, step >> 64 << 64) if network.prefixlen < 64 else 1
        first = 0 if network.num_addresses == 1 else 1
        return [str(network[(first + i * step) % network.num_addresses]) for i in range(self.sources)]


@dataclass(frozen=True, slots=True)
class Story:
    """Who is there: served clients with a few connections each, and attackers."""

    served: tuple[str, ...]
    attackers: tuple[Attacker, ...]
    cookies: bool = True
    challenges: bool = False
    seconds: float = 14.0


class Duel:
    """Plays a story, tick by tick."""

    def __init__(self, story: Story) -> None:
        config = Config(mode=Mode.ENFORCE).model_copy(update={"proven": Proven(at_most=AT_MOST)})
        ids = iter(range(1 << 30))
        self.story = story
        self.bans: dict[str, Ban] = {}
        self._clock = ManualClock()
        self._sensors = FakeSensors(self._clock, 80)
        self._detector = Detector([POLICY], seed=1)
        self._engine = Engine(config, [POLICY], new_id=lambda: f"b{next(ids)}", chance=random.Random(7))
        self._chance = random.Random(3)
        self._known: dict[tuple[str, bool], bool] = {}
        self._exceptions: frozenset[Network] = frozenset()
        self.changed = False
        """Whether bans or exceptions are others than a tick ago."""
        self._decision = Decision()
        self._connections_at = float("-inf")
        self._began = self._clock.monotonic()

    @property
    def at(self) -> float:
        """Seconds since the beginning."""
        return self._clock.monotonic() - self._began

    def tick(self) -> Decision:
        """Play one tick."""
        now, utc = self._clock.monotonic(), self._clock.utcnow()
        state = self._engine.evaluator_state
        state.challenge = ChallengeState(works=self.story.challenges)
        self._sensors.weather = self._weather()
        sampling = self._decision.wants_sampler
        if sampling and not self._sensors.running:
            self._sensors.open(now)
            sampling = False
        elif not sampling:
            self._sensors.close()
        due = now - self._connections_at >= 1.0 or self._decision.wants_proof
        self._connections_at = now if due else self._connections_at
        readings = Readings(
            at=now,
            half_open=self._sensors.half_open(now),
            listeners=self._sensors.listeners(now),
            connections=self._sensors.connections(now) if due else None,
            counters=self._sensors.counters(now),
            syns=self._sensors.read(now, frozenset({80})) if sampling else None,
            proven=self._sensors.finished_peers(1.0) if due else None,
        )
        assessment = self._detector.assess(readings, state.active_bans.ban_filter(utc))
        self._decision = self._engine.decide(assessment, utc)
        for gone in self._decision.replaced:
            self.bans.pop(gone, None)
        self.bans |= {ban.id: ban for ban in self._decision.bans}
        before, self.bans = len(self.bans), {ban.id: ban for ban in self.bans.values() if ban.active(utc)}
        exceptions = self._engine.proven_exceptions(utc)
        fewer = len(self.bans) < before or bool(self._decision.replaced) or exceptions != self._exceptions
        self.changed = bool(self._decision.bans) or fewer
        if self.changed:
            self._known, self._exceptions = {}, exceptions
        self._clock.advance(TICK_S)
        return self._decision

    def refused(self, address: str, *, new: bool = True) -> bool:
        """Return whether SYNs of an address (or, not ``new``, all of its packets) are dropped now."""
        known = self._known.get((address, new))
        if known is None:
            known = self._known[address, new] = self._refused(ip_address(address), new=new)
        return known

    def remembered(self, address: str) -> bool:
        """Return whether the host knows that an address completed a handshake lately."""
        return self._engine.evaluator_state.proven.seen_at(ip_network(address)) is not None

    def _refused(self, one: Address, *, new: bool) -> bool:
        stopping = [ban for ban in self.bans.values() if one in ban.target and not ban.action.challenges]
        if any(ban.scope is Scope.ALL for ban in stopping):
            return True
        return new and bool(stopping) and not any(one in network for network in self._exceptions)

    def _weather(self) -> Weather:
        syns: Counter[str] = Counter()
        held = Counter(dict.fromkeys(self.story.served, 2))
        finished: list[str] = []
        tools: set[str] = set()
        for one in self.story.attackers:
            if not one.acts(self.at):
                continue
            if one.kind == "holds":
                held.update(dict.fromkeys(one.addresses, int(one.size)))
            elif one.kind == "primes":
                finished += [address for address in self._anew(one, int(one.size)) if not self.refused(address)]
            elif one.kind == "forges-everywhere":
                syns.update(dict.fromkeys(self._anywhere(200), one.size / 200))
            else:
                syns.update(dict.fromkeys(one.addresses, one.size / one.sources))
            tools.update(one.addresses if one.kind.startswith("forges") else ())
        arriving = [address for address in syns if not self.refused(address)]
        waiting = self._chance.choices(arriving, [syns[one] for one in arriving], k=PLACES + 1) if arriving else []
        pps = sum(syns[one] for one in arriving)
        full = pps > 0 and pps * 30 > PLACES
        return Weather(
            connections={address: count for address, count in held.items() if not self.refused(address, new=False)},
            syn_pps=syns,
            half_open=Counter(waiting if full else waiting[: int(pps * 3)]),
            finished=tuple(finished),
            cookies_pps=pps if full and self.story.cookies else 0.0,
            dropped_pps=pps if full and not self.story.cookies else 0.0,
            header_of=lambda address: forged(address) if address in tools else natural(address),
        )

    def _anew(self, one: Attacker, count: int) -> list[str]:
        network = ip_network(one.network)
        return [str(network[self._chance.randrange(network.num_addresses)]) for _ in range(count)]

    def _anywhere(self, count: int) -> list[str]:
        return [str(ip_address(self._chance.randrange(1 << 24, 223 << 24))) for _ in range(count)]
