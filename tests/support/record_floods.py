"""Records short real floods in the lab for the scenario tests: ``python -m tests.support.record_floods [NAME…]``.

Each is an agent in dry-run on a real victim, some clients, and a flood that begins after a moment of calm. What the
recording says of the machine that made it (resolvers, people logged in, the lab's random names) is replaced by what
belongs to the lab, so that the files can be shared.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from synguard.addresses import Network, covers, parse_network
from synguard.readings import Listener, Protected
from synguard.recording.reader import Recording
from tests.support.lab.client_plan import steady
from tests.support.lab.connection_plan import ConnectionPlan, attacker_sources
from tests.support.lab.flood_plan import FloodPlan, anywhere, hosts, prefix
from tests.support.lab.lab import Lab
from tests.support.lab.namespaces import why_unavailable
from tests.support.lab.topology import Victim
from tests.support.recordings import recorded

DIRECTORY: Final = Path(__file__).parents[1] / "scenario" / "recordings"
CALM_S: Final = 3.0
_LAB: Final = tuple(parse_network(text) for text in ("192.0.2.0/24", "2001:db8::/32", "127.0.0.0/8", "::1"))
_CONFIG: Final = "[sampler]\nkept_per_second = 4000\n"


@dataclass(frozen=True, slots=True)
class Story:
    """One flood to record."""

    victim: Victim
    flood: Callable[[Lab], object]
    flood_s: float = 3.0


def _syns(plan: FloodPlan) -> Callable[[Lab], object]:
    return lambda lab: lab.start_flood(plan)


HEAVY: Final = tuple(f"198.51.100.{number}" for number in range(1, 6))
STORIES: Final = {
    "prefix-128": Story(
        Victim(syncookies=0, backlog=128),
        _syns(FloodPlan(groups=(prefix("198.18.7.0/24", distinct=128),), pps=10_000, duration_s=3, seed=1)),
    ),
    "random-with-heavy": Story(
        Victim(),
        _syns(FloodPlan(groups=(anywhere(4, weight=4), hosts(*HEAVY)), pps=5_000, duration_s=4, seed=2)),
        4.0,
    ),
    "connections": Story(
        Victim(),
        lambda lab: lab.start_connections(
            ConnectionPlan(sources=attacker_sources(3), each=1000, opens_per_second=1000, duration_s=8)
        ),
        8.0,
    ),
}


def record(name: str, story: Story, directory: Path = DIRECTORY) -> Path:
    """Record one flood and return its file."""
    with Lab(story.victim) as lab:
        lab.serve()
        agent = lab.agent(_CONFIG)
        raw = lab.workdir / "raw.rec"
        agent.start("--dry-run", "--record", str(raw))
        lab.start_clients(steady(clients=10, rate=20, duration_s=CALM_S + story.flood_s + 1))
        time.sleep(CALM_S)
        story.flood(lab)
        time.sleep(story.flood_s + 0.5)
        agent.stop()
        return _shareable(raw, directory / f"{name}.rec")


def _shareable(raw: Path, path: Path) -> Path:
    """Write a recording anew without what it tells of the machine."""
    with Recording(raw) as recording:
        head = recording.head
        ticks = [
            (
                replace(moment.readings, listeners=tuple(map(_nameless, moment.readings.listeners))),
                Protected(_of_the_lab(moment.protected), moment.protected.problems),
            )
            for moment in recording.moments()
        ]
    path.write_bytes(recorded(ticks, mode=head.mode, utc=head.utc, at=head.at))
    return path


def _nameless(listener: Listener) -> Listener:
    return replace(listener, process="nginx[80]")


def _of_the_lab(protected: Protected) -> dict[Network, str]:
    return {network: why for network, why in protected.networks.items() if any(covers(wide, network) for wide in _LAB)}


def main() -> int:
    """Record the floods named, or all; return the exit code."""
    if trouble := why_unavailable():
        print(f"Floods cannot be recorded here: {trouble}.", file=sys.stderr)
        return 4
    DIRECTORY.mkdir(exist_ok=True)
    for name in sys.argv[1:] or STORIES:
        path = record(name, STORIES[name])
        print(f"{path}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
