"""A long life in the lab, told quickly: changing floods, bans by hand, expiries, restarts, wiped rules, reloads.

The run has three parts. In the first and the last fifth the agent is restarted every few rounds, by SIGTERM and by
SIGKILL, onto another plane each time: what leaks from life to life (objects in the kernel, files, the ledger) shows
there. In between it lives through one long life on ipsets, for what leaks within a process can only show in one.
Nothing depends on the time of day.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, cycle
from typing import Final

from synguard.ledger import LEDGER_FILE, Ledger
from synguard.model import Verdict, VerdictKind
from synguard.policy.models import LedgerLimits
from tests.soak.samples import Sampler
from tests.support.bans import ban
from tests.support.lab.agent import Agent
from tests.support.lab.connection_plan import ConnectionPlan, attacker_sources
from tests.support.lab.flood_plan import FloodPlan, SourceGroup, anywhere, hosts, prefix
from tests.support.lab.lab import Lab
from tests.support.lab.namespaces import LabError, python_module
from tests.support.protection import scattered

PPS: Final = 3_000.0
"""Enough to fill a queue of 511 at once, and little enough that a soak can run beside other work."""
VARIANTS: Final = 3
"""Each shape comes from that many sets of sources in turn: memory of offenders is full long before it is judged."""
FEWEST: Final = 9
"""Rounds of the long life, however short the soak: one to warm up, and four at least in the half that is judged."""
FLOODS_REPEAT_S: Final = 180.0
"""A soak so long has every flood more than once in the half that is judged; a shorter one has only every second one in
its long life, from the same sources, so that each was there before it is judged."""
ROWS: Final = 1_000
"""The fewest that ``ledger.rows`` can be; the soak starts with twice as many, so that pruning is at work throughout."""

CONFIG: Final = """\
policies = ["{pack}"]
incident.calm_for = "1s"
sampler.linger = "1s"
cadence.protected = "1s"
ledger = {{ rows = {rows}, keep = "1h" }}
"""
PACK: Final = """\
[[policy]]
name = "{name}"
limits = {{ half_open = 32, syn_rate = 20, connections = 60 }}
prefix_limits = {{ half_open = 128, syn_rate = 500 }}
hold = {{ connections = "1s" }}
bans = {{ first = "5s", first_forgeable = "5s", growth = 1, cap = "6s", cap_forgeable = "6s", memory = "1m" }}
"""

Shape = Callable[[int], SourceGroup]
SHAPES: Final[tuple[Shape, ...]] = (
    lambda nth: hosts(f"198.18.{nth}.1"),
    lambda nth: hosts(*scattered(64, 64 * nth)),
    lambda nth: prefix(f"198.19.{nth}.0/24", distinct=128),
    lambda nth: prefix(f"2001:db8:bad:{nth + 1:x}::/64"),
    lambda nth: anywhere(4),
)


@dataclass(frozen=True, slots=True)
class Life:
    """One life of the agent."""

    plane: str
    """TOML that chooses it."""
    share: float
    """Of the whole run."""
    ends_by: signal.Signals


SETS, NFT = 'plane = "iptables"\n', 'plane = "nftables"\n'
LIVES: Final = (
    Life(NFT, 0.07, signal.SIGKILL),
    Life(SETS, 0.07, signal.SIGTERM),
    Life(SETS, 0.06, signal.SIGKILL),
    Life(SETS, 0.6, signal.SIGTERM),
    Life(SETS, 0.07, signal.SIGKILL),
    Life(NFT, 0.07, signal.SIGKILL),
    Life(SETS, 0.06, signal.SIGTERM),
)
LONG: Final = max(range(len(LIVES)), key=lambda number: LIVES[number].share)

WIPES: Final = {
    SETS: (
        "iptables-legacy -t raw -F; iptables-legacy -F; ip6tables-legacy -t raw -F SYNGUARD",
        "for s in $(ipset list -n | grep ^synguard); do ipset flush $s; done",
        "iptables-legacy -t raw -D PREROUTING 1; ip6tables-legacy -F; ip6tables-legacy -X",
    ),
    NFT: ("nft flush ruleset", "nft flush table inet synguard", "nft flush chain inet synguard drop-4"),
}


class Soak:
    """One soak: ``run`` it, then look at what is left."""

    def __init__(self, lab: Lab, total_s: float) -> None:
        self.lab, self.total_s = lab, total_s
        self.round_s = min(max(total_s / 75, 3.0), 12.0)
        self.agent: Agent = lab.agent()
        self.rounds = 0
        self.restarts: list[str] = []
        self.done: dict[str, int] = {}
        self.long_life = (0.0, 0.0)
        """When the long life began and ended, ``CLOCK_MONOTONIC``; without its first round, in which it warms up."""
        self._pack = lab.workdir / "soak.toml"
        self._shapes = cycle((shape, nth) for nth in range(VARIANTS) for shape in (*SHAPES, None))
        few = cycle((shape, 0) for shape in SHAPES[::2])
        self._long_shapes = few if total_s < FLOODS_REPEAT_S else self._shapes
        self._troubles = count()
        self._wiped = count()
        fill(self.agent)

    def run(self, sampler: Callable[[Agent], Sampler]) -> Sampler:
        """Go through all lives; return the sampler that looked on."""
        self.lab.serve()
        samples = sampler(self.agent)
        try:
            for number, life in enumerate(LIVES):
                self._live(number, life, samples)
        finally:
            samples.close()
        return samples

    def _live(self, number: int, life: Life, samples: Sampler) -> None:
        self._configure(life, "soak")
        self.agent.start("--enforce", wrapper=python_module("tests.soak.quickened"))
        began, first = time.monotonic(), self.rounds
        at_least = FEWEST if number == LONG else 1
        while time.monotonic() < began + life.share * self.total_s or self.rounds < first + at_least:
            if number == LONG and self.rounds == first + 1:
                self.long_life = (time.monotonic(), 0.0)
            shape, nth = next(self._long_shapes if number == LONG else self._shapes)
            samples.next_round(shape)
            self._round(life, shape, nth)
        if number == LONG:
            self.long_life = (self.long_life[0], time.monotonic())
        if number == len(LIVES) - 1:
            return
        self.restarts.append(life.ends_by.name)
        if life.ends_by is signal.SIGKILL:
            self.agent.kill()
        elif self.agent.stop():
            raise LabError(f"the agent did not end well: {self.agent.program.stderr[-2000:]}")

    def _round(self, life: Life, shape: Shape | None, nth: int) -> None:
        """Flood for three fifths of a round, with one trouble in the middle of it; then let bans expire."""
        until = time.monotonic() + self.round_s
        with_flood = self.round_s * 0.6
        if shape is None:
            sources = attacker_sources(20)
            plan = ConnectionPlan(sources=sources, each=80, duration_s=with_flood, opens_per_second=1500)
            flood = self.lab.start_connections(plan)
        else:
            flood = self.lab.start_flood(FloodPlan(groups=(shape(nth),), pps=PPS, duration_s=with_flood))
        for trouble in self._next_troubles(life):
            trouble()
        self._wait(until)
        flood.stop()
        self.rounds += 1
        if not self.agent.program.running:
            raise LabError(f"the agent ended by itself: {self.agent.program.stderr[-4000:]}")

    def _next_troubles(self, life: Life) -> Iterator[Callable[[], None]]:
        number = next(self._troubles)
        if number % 2 == 0:
            yield lambda: self._by_hand(number)
        if number % 4 == 1:
            yield lambda: self._wipe(life)
        if number % 4 == 3:
            yield lambda: self._reload(life, number)

    def _by_hand(self, number: int) -> None:
        target = f"192.0.2.{64 + number % 128}"
        self._verb("ban", target, "2001:db8:77::/48", "--for", "20s", "--yes")
        if number % 4 == 0:
            self._verb("unban", target, "--yes")

    def _verb(self, *words: str) -> None:
        ran = self.agent.verb(*words)
        self._count(words[0])
        late = words[0] == "unban" and "is not banned" in ran.stderr  # a machine so slow that it has expired
        if ran.returncode and not late:
            raise LabError(f"synguard {' '.join(words)}: {ran.returncode}: {ran.stderr}")

    def _wipe(self, life: Life) -> None:
        wipes = WIPES[life.plane]
        self.lab.victim.run(["sh", "-c", f"({wipes[next(self._wiped) % len(wipes)]}) 2>/dev/null; true"])
        self._count("wipe")

    def _reload(self, life: Life, number: int) -> None:
        self._configure(life, f"soak-{number % 8}")
        self.agent.program.process.send_signal(signal.SIGHUP)
        self._count("reload")

    def _configure(self, life: Life, name: str) -> None:
        self._pack.write_text(PACK.format(name=name))
        self.agent.write_config(life.plane + CONFIG.format(pack=self._pack, rows=ROWS))

    def _count(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1

    def _wait(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))


def fill(agent: Agent) -> None:
    """Give the agent a ledger that already holds twice what its limits allow, all of it ended."""
    then = datetime.now(UTC) - timedelta(minutes=30)
    with Ledger.open(agent.state_dir / LEDGER_FILE, LedgerLimits(rows=ROWS)) as ledger:
        for start in range(0, 2 * ROWS, 500):
            numbers = range(start, start + 500)
            ledger.add_bans([ban(f"old-{n}", f"20.{n // 250}.{n % 250}.1", seconds=60, start=then) for n in numbers])
            targets = [ban("x", f"21.{n // 250}.{n % 250}.1").target for n in numbers]
            verdicts = [Verdict(VerdictKind.WATCH, target, 40.0, "old", "over its limit", ()) for target in targets]
            ledger.record_verdicts(verdicts, then, f"i{start}")
        for number in range(2 * ROWS):
            ledger.record_action(then, "repair", f"something of old, number {number}, in a sentence of usual length")
