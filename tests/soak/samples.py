"""What a running agent holds, looked at from outside every second, and what it says of its own pace."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields
from pathlib import Path

from synguard.ledger import LEDGER_FILE
from tests.soak.trend import Point
from tests.support.lab.agent import Agent
from tests.support.lab.namespaces import LabError

PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Sample:
    """One look."""

    rss: float
    descriptors: float
    threads: float
    ledger: float
    """Bytes of the database."""
    journal: float
    """Bytes of its write-ahead log, which SQLite begins anew every thousand pages."""
    tick_ms: float
    """CPU time, that of the tools it ran included: a busy machine adds none."""
    late_ms: float
    """The latest tick of the last status interval."""


FIGURES = tuple(one.name for one in fields(Sample))


class Sampler:
    """Looks every second from a thread of its own; a look at an agent that is just being restarted is left out."""

    def __init__(self, agent: Agent, every_s: float = 1.0) -> None:
        self._agent, self._every_s = agent, every_s
        self._samples: list[tuple[float, int, Sample]] = []
        self._floods: list[Hashable] = [None]
        """What each round had, the last of which is under way."""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def next_round(self, flood: Hashable) -> None:
        """Let samples count for the next round from now on, which has this flood."""
        self._floods.append(flood)

    def close(self) -> None:
        """Stop looking."""
        self._done.set()
        self._thread.join()

    def points(
        self, figure: str, since: float = 0.0, until: float = float("inf"), *, by_flood: bool = False,
        draw: Callable[[list[float]], float] = statistics.median,
    ) -> list[Point]:  # fmt: skip
        """Return one point a round between two moments, under its flood or all under the same."""
        by_round: dict[int, list[tuple[float, float]]] = defaultdict(list)
        for at, number, sample in list(self._samples):
            if since <= at < until:
                by_round[number].append((at, getattr(sample, figure)))
        return [
            (
                statistics.median(at for at, _ in one),
                draw([value for _, value in one]),
                self._floods[number] if by_flood else None,
            )
            for number, one in sorted(by_round.items())
        ]

    def _run(self) -> None:
        while not self._done.wait(self._every_s):
            try:
                self._samples.append((time.monotonic(), len(self._floods) - 1, self._look()))
            except (OSError, ValueError, IndexError, LabError):  # it is just being restarted
                continue

    def _look(self) -> Sample:
        agent = self._agent
        process, status = Path(f"/proc/{agent.pid}"), agent.status()
        if status.pid != agent.pid or status.agent is None:
            raise ValueError("the status is another agent's")
        words = (process / "status").read_text()
        database = agent.state_dir / LEDGER_FILE
        return Sample(
            rss=float(int((process / "statm").read_text().split()[1]) * PAGE),
            descriptors=float(len(list((process / "fd").iterdir()))),
            threads=float(words.split("Threads:")[1].split()[0]),
            ledger=float(database.stat().st_size),
            journal=float(database.with_name(f"{LEDGER_FILE}-wal").stat().st_size),
            tick_ms=1000 * status.agent.cpu_share / max(status.agent.ticks, 1),  # a status is of a second
            late_ms=status.agent.late_ms_max,
        )
