"""A flood, the agent, who gets through: before and after, in under a minute (``make demo``).

Everything happens in network namespaces of its own: the machine's own network and firewall are not touched.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

from tests.support.lab.agent import Agent
from tests.support.lab.attempts import Attempts
from tests.support.lab.client_plan import steady
from tests.support.lab.flood_plan import LONGEST_S, FloodPlan, prefix
from tests.support.lab.lab import Clients, Lab, Meter, SynFlood
from tests.support.lab.namespaces import LabError, why_unavailable
from tests.support.lab.topology import Victim

PPS: Final = 10_000
ATTACKERS: Final = "198.18.7.0/24"
SOURCES: Final = 128
CLIENTS_PER_S: Final = 40
_TIMEOUT_S: Final = 2.0
_COLUMNS: Final = ("", "served", "connect, median", "SYN/s offered", "SYN/s reaching TCP", "bans")


@dataclass(frozen=True, slots=True)
class Row:
    """One phase of the demo as the table shows it."""

    name: str
    served: str
    connect: str
    offered: str
    reached: str
    bans: str

    def cells(self) -> tuple[str, ...]:
        """Return the cells in the order of the columns."""
        return self.name, self.served, self.connect, self.offered, self.reached, self.bans


class Show(Protocol):
    """Where the demo tells what happens."""

    def phase(self, row: Row, done: bool) -> None:
        """Show the figures of the phase under way, or its final ones."""

    def note(self, text: str) -> None:
        """Tell one sentence."""


class LiveShow:
    """A table that fills as one watches."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._rows: dict[str, Row] = {}
        live.update(self._table())

    def phase(self, row: Row, done: bool) -> None:
        """Show the row anew."""
        self._rows[row.name] = row
        self._live.update(self._table())

    def note(self, text: str) -> None:
        """Print above the table."""
        self._live.console.print(text, highlight=False)

    def _table(self) -> Table:
        table = Table(*_COLUMNS, title=_title())
        for row in self._rows.values():
            table.add_row(*row.cells())
        return table


class PlainShow:
    """Lines, for pipes and logs; a phase is told once, when it is over."""

    def __init__(self) -> None:
        self._print(_title())
        self._print(self._line(Row(*_COLUMNS)))

    def phase(self, row: Row, done: bool) -> None:
        """Print the row when it is final."""
        if done:
            self._print(self._line(row))

    def note(self, text: str) -> None:
        """Print the sentence."""
        self._print(text)

    def _line(self, row: Row) -> str:
        widths = (30, 8, 17, 15, 20, 5)
        return "".join(f"{cell:<{width}}" for cell, width in zip(row.cells(), widths, strict=True)).rstrip()

    def _print(self, text: str) -> None:
        print(text, flush=True)


class Demo:
    """The lab, what runs in it, and the phases."""

    def __init__(self, lab: Lab, show: Show) -> None:
        self._lab, self._show = lab, show
        self._meter: Meter = lab.start_meter()
        self._clients: Clients = lab.start_clients(
            steady(clients=40, rate=CLIENTS_PER_S, duration_s=90, timeout_s=_TIMEOUT_S)
        )
        self._agent: Agent = lab.agent()
        self._protected = False

    def run(self) -> None:
        """Play it."""
        self._measure("calm", 3)
        flood = self._flood()
        self._measure("flood, no agent", 4, settle=0.3)
        flood.stop()
        self._show.note("The flood pauses; the agent starts.")
        self._agent.start("--enforce")
        self._protected = True
        self._wait_until_served()
        flood = self._flood()
        self._tell_relief(flood)
        self._measure("flood, agent enforcing", 6)
        self._tell_recovery(flood)
        self._tell_why()
        flood.stop()
        self._measure("after the flood", 2, settle=0.3)

    def _flood(self) -> SynFlood:
        group = prefix(ATTACKERS, distinct=SOURCES)
        return self._lab.start_flood(FloodPlan(groups=(group,), pps=PPS, duration_s=LONGEST_S / 2))

    def _measure(self, name: str, duration_s: float, settle: float = 0.0) -> None:
        """Watch one phase; clients that still wait at its end are waited for, so that they count."""
        time.sleep(settle)
        start = time.monotonic()
        while (now := time.monotonic()) < start + duration_s:
            self._show.phase(self._row(name, start, now), done=False)
            time.sleep(0.25)
        end = start + duration_s
        expected = CLIENTS_PER_S * duration_s - 2
        _until(lambda: len(self._attempts().between(start, end)) >= expected, _TIMEOUT_S + 0.5)
        self._show.phase(self._row(name, start, end), done=True)

    def _row(self, name: str, start: float, end: float) -> Row:
        attempts, reach = self._attempts().between(start, end), self._meter.reach()
        known = bool(attempts) and end > start
        connect = attempts.connect_ms()
        return Row(
            name,
            f"{attempts.share:.0%}" if known else "-",
            f"{connect:.1f} ms" if connect == connect else "-",
            f"{reach.offered_pps(start, end):,.0f}" if end > start else "-",
            f"{reach.reached_pps(start, end):,.0f}" if end > start else "-",
            str(self._agent.status().bans_active) if self._protected else "-",
        )

    def _attempts(self) -> Attempts:
        return self._clients.attempts()

    def _bans(self) -> list[dict[str, Any]]:
        bans: list[dict[str, Any]] = self._agent.ask("bans")
        return bans

    def _wait_until_served(self) -> None:
        """Wait until the queue that the flood left behind has gone: every client of half a second is served."""
        since = time.monotonic()

        def served() -> bool:
            now = time.monotonic()
            recent = self._attempts().between(now - 0.6, now - 0.1)
            return now - 0.6 > since and len(recent) >= 0.4 * CLIENTS_PER_S and recent.share == 1.0

        _until(served, 20.0)

    def _tell_relief(self, flood: SynFlood) -> None:
        relief: list[float] = []

        def relieved() -> bool:
            found = self._meter.reach().relief_s(flood.first_at)
            relief.extend([found] if found is not None else [])
            return bool(relief)

        if _until(relieved, 5.0):
            self._show.note(f"{relief[0]:.2f} s after the first attack packet, under 10 % of the attack reaches TCP.")
        else:
            self._show.note("The attack still reaches TCP after 5 s.")

    def _tell_recovery(self, flood: SynFlood) -> None:
        lost = [
            attempt.at - flood.first_at for attempt in self._attempts().between(flood.first_at).all if not attempt.ok
        ]
        if lost:
            self._show.note(f"{max(lost):.2f} s after the first attack packet the last client was turned away.")
        else:
            self._show.note("No client was turned away.")

    def _tell_why(self) -> None:
        bans = self._bans()
        self._show.note(
            "Bans: " + (", ".join(f"{ban['target']} ({ban['scope']}, {ban['action']})" for ban in bans[:5]) or "none")
        )
        if bans:
            address = str(bans[0]["target"]).partition("/")[0]
            self._show.note(f"$ synguard why {address}\n{self._agent.verb('why', address).stdout.strip()}")


def _until(condition: Callable[[], bool], timeout: float) -> bool:
    """Wait for a condition up to ``timeout`` seconds; return whether it came true."""
    deadline = time.monotonic() + timeout
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return true


def _title() -> str:
    return (
        f"A web server without SYN cookies and a backlog of 128; {CLIENTS_PER_S} clients a second;"
        f" a flood of {PPS:,} SYN/s from {SOURCES} sources in {ATTACKERS}"
    )


def main() -> int:
    """Play the demo; return the exit code."""
    if trouble := why_unavailable():
        print(f"The demo cannot run here: {trouble}.", file=sys.stderr)
        return 4
    console = Console()
    live = Live(console=console, refresh_per_second=8) if console.is_terminal else None
    screen: AbstractContextManager[object] = live if live is not None else nullcontext()
    try:
        with Lab(Victim(syncookies=0, backlog=128)) as lab, screen:
            lab.serve()
            Demo(lab, LiveShow(live) if live is not None else PlainShow()).run()
    except LabError as error:
        print(f"The demo stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, like head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
