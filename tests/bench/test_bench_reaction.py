"""How soon a flood is stopped and who gets through: the agent, a shell loop that operators run, and nothing at all.

Every flood has a lab of its own, so that no flood profits from what an earlier one taught. Prints distributions and
ratios; the goal for the agent is a median of at most 0.5 s and a served share of 99 % after relief.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from tests.support.lab.attempts import Attempts
from tests.support.lab.lab import Lab
from tests.support.lab.topology import Victim
from tests.support.protection import SHAPES, Siege, crowd, finished, flood_of, wait_for_attempts

SHORT = bool(os.environ.get("SHORT"))
TUNINGS = {"cookies off, backlog 128": Victim(syncookies=0, backlog=128)}
if not SHORT:
    TUNINGS["cookies on, backlog 511"] = Victim()
FLOODS = {"agent": 1, "shell loop": 1} if SHORT else {"agent": 10, "shell loop": 4, "nothing": 1}
WATCHED_S = 6.0
"""One second more than the loop sleeps, so that it always has a turn within a flood."""

pytestmark = [pytest.mark.kernel, pytest.mark.bench, pytest.mark.timeout(600)]

LOOP = """
while :; do
    netstat -nt | grep SYN_REC | awk '{print $5}' | cut -d: -f1 | sort | uniq -c | while read count address; do
        [ "$count" -gt 64 ] && iptables-legacy -I INPUT 1 -s "$address" -j DROP
    done
    sleep 5
done
"""
"""What the field types by hand, every five seconds; ``cut -d:`` makes it blind to IPv6, as it is out there."""


def the_agent(lab: Lab) -> None:
    """Bans alone: it may not turn SYN cookies on, or clients would be served however long bans took."""
    lab.agent('countermeasure.syn_cookies = "never"\n').start("--enforce")


def the_loop(lab: Lab) -> None:
    lab.start(lab.victim, ["sh", "-c", LOOP], "loop")
    time.sleep(random.uniform(0.0, 5.0))  # a flood begins at any moment of its sleep


DEFENCES: dict[str, Callable[[Lab], None]] = {"agent": the_agent, "shell loop": the_loop, "nothing": lambda _: None}


@dataclass
class Row:
    """The floods of one shape against one defence."""

    relief: list[float] = field(default_factory=list)
    never: int = 0
    after: list[Attempts] = field(default_factory=list)
    during: list[Attempts] = field(default_factory=list)

    def add(self, siege: Siege) -> None:
        self.during.append(siege.served_during)
        if siege.relief_s is None:
            self.never += 1
        else:
            self.relief.append(siege.relief_s)
            self.after.append(siege.served_after)

    @property
    def median(self) -> float:
        """Median seconds to relief; infinite where most floods were never stopped."""
        return float(np.median([*self.relief, *[np.inf] * self.never]))

    def __str__(self) -> str:
        times = "never"
        if self.relief:
            p90 = np.percentile([*self.relief, *[1e9] * self.never], 90, method="higher")
            worst = "never" if p90 >= 1e9 else f"{p90:.2f} s"
            median = "never" if np.isinf(self.median) else f"{self.median:.2f} s"
            times = f"median {median}, p90 {worst}, best {min(self.relief):.2f} s"
        after = f"{Attempts(a for one in self.after for a in one.all).share:.1%}" if self.relief else "-"
        during = Attempts(a for one in self.during for a in one.all)
        return (
            f"relief {times:<46} in {len(self.relief):>2} of {len(self.relief) + self.never:<2} floods; "
            f"served after relief {after:>6}, over all {WATCHED_S:g} s {during.share:>6.1%} of {len(during)}"
        )


@pytest.mark.parametrize("tuning", TUNINGS.values(), ids=TUNINGS.keys())
@pytest.mark.parametrize("shape", SHAPES)
def test_time_to_relief(shape: str, tuning: Victim) -> None:
    name = next(word for word, one in TUNINGS.items() if one is tuning)
    load = Path("/proc/loadavg").read_text().split()[0]
    print(f"\n{shape}, 10,000 SYN/s; {name}; load average before {load}")
    rows = {defence: Row() for defence in FLOODS}
    for nth in range(max(FLOODS.values())):
        for defence, floods in FLOODS.items():
            if nth < floods:
                rows[defence].add(one_flood(tuning, shape, nth, DEFENCES[defence]))
    for defence, row in rows.items():
        faster = f"; {row.median / rows['agent'].median:.0f} times the agent's" if row is not rows["agent"] else ""
        print(f"  {defence:>10}: {row}{'' if np.isinf(row.median) else faster}")


def one_flood(tuning: Victim, shape: str, nth: int, defend: Callable[[Lab], None]) -> Siege:
    make, version = SHAPES[shape]
    with Lab(tuning) as lab:
        lab.serve()
        defend(lab)
        meter, clients = lab.start_meter(), lab.start_clients(crowd(version))
        wait_for_attempts(clients, 0.0, 10)
        time.sleep(random.uniform(0.0, 0.2))  # any phase of the agent's ticks
        flood = lab.start_flood(flood_of(make(nth)))
        time.sleep(max(flood.first_at + WATCHED_S - time.monotonic(), 0.0))
        siege = finished(meter, clients, flood, None)
    relief = siege.reach.relief_s(siege.first_at)
    return Siege(siege.first_at, relief, siege.until, siege.reach, siege.attempts)
