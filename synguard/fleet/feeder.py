"""The process that speaks to a BGP speaker for the agent, and withdraws everything when the agent is gone.

``python -m synguard.fleet.feeder`` reads objects of JSON, one a line, each all that is wanted now::

    {"routes": [[{"source": "203.0.113.5/32", ...}, 1234.5], ...], "refused": 0}

with each route's deadline in ``CLOCK_MONOTONIC`` seconds, and how many more there were
than may be announced. It writes a line whenever something changed::

    {"reachable": true, "announced": 3, "waiting": 0, "refused": 0, "error": ""}

The end of its input is the end of the agent, by ``SIGKILL`` too: it withdraws what it announced, and ends.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from synguard.errors import FleetError
from synguard.fleet.announcer import Announcer, RouteStep
from synguard.fleet.routes import from_json
from synguard.fleet.speakers import ExaBgp, GoBgp, Speaker
from synguard.jsonable import jsonable
from synguard.private import read_private, replace_private

MOST_LINE: Final = 1 << 20
"""Bytes of one line from the agent."""
RETRY_S: Final = 2.0
"""Time between two tries where the speaker is away."""
LEAVING_S: Final = 5.0
"""How long it tries to withdraw what is announced before it ends."""
AT_ONCE: Final = 100
"""Steps between two looks at what the agent says."""
MEMORY: Final = "upstream.json"
"""In ``state_dir``: what was announced, for a next process to withdraw."""


class Feeder:
    """Brings a speaker to what the agent wants; what fails is tried again, ever the same routes."""

    def __init__(self, speaker: Speaker, announcer: Announcer, memory: Path, say: Callable[[str], None]) -> None:
        self._speaker = speaker
        self._announcer = announcer
        self._memory = memory
        self._say = say
        self._said = ""
        self._error = ""
        self._reachable: bool | None = None
        self._recall()

    def take(self, line: str) -> None:
        """Take in a line of the agent's; one that cannot be read changes nothing."""
        try:
            told = json.loads(line)
            routes = {from_json(item): float(deadline) for item, deadline in told["routes"]}
            refused = int(told.get("refused", 0))
        except (ValueError, KeyError, TypeError) as error:
            self._error = f"a line of the agent cannot be read: {error}"
            return
        self._announcer.want(routes)
        self._announcer.refused += refused

    def work(self, now: float) -> float:
        """Say what is to be said; return the seconds until something is due again."""
        steps = self._announcer.steps(now)
        wait = RETRY_S
        if steps:
            self._remember(steps[:AT_ONCE], now)
        for step in steps[:AT_ONCE]:
            if not self._step(step, now):
                break
        else:
            wait = 0.0 if len(steps) > AT_ONCE else max(min(self._announcer.next_at() - now, 60.0), 0.05)
        if steps:
            self._remember((), now)
        self._tell(len(self._announcer.steps(now)))
        return wait

    def leave(self) -> None:
        """Withdraw everything, as far as the speaker takes it within ``LEAVING_S``."""
        ends_at = time.monotonic() + LEAVING_S
        self._announcer.want({})
        while self._announcer.announced and time.monotonic() < ends_at:
            if self.work(time.monotonic()) == RETRY_S:
                time.sleep(0.2)
        self._speaker.close()

    def _step(self, step: RouteStep, now: float) -> bool:
        try:
            self._speaker.say(step.route, announce=step.announce)
        except FleetError as error:
            self._reachable, self._error = False, str(error)
            return False
        self._announcer.done(step, now)
        self._reachable, self._error = True, ""
        return True

    def _tell(self, waiting: int) -> None:
        announcer = self._announcer
        said = json.dumps(
            {
                "reachable": self._reachable,
                "announced": len(announcer.announced),
                "waiting": waiting,
                "refused": announcer.refused,
                "error": self._error,
            }
        )
        if said != self._said:
            self._said = said
            self._say(said)

    def _remember(self, ahead: Sequence[RouteStep], now: float) -> None:
        """Write down what is announced, and what is about to be: killed in between, the next process must know it."""
        coming = [step.route for step in ahead if step.announce]
        routes = [jsonable(route) for route in dict.fromkeys((*self._announcer.announced, *coming))]
        with suppress(OSError):
            replace_private(
                self._memory, json.dumps({"routes": routes, "spent": [*self._announcer.spent, *[now] * len(coming)]})
            )

    def _recall(self) -> None:
        """Take over what an earlier process announced and could not withdraw, and how many announcements it made."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            known = json.loads(read_private(self._memory, MOST_LINE))
            routes = [from_json(item) for item in known["routes"]]
            now = time.monotonic()
            self._announcer.announced = dict.fromkeys(routes, float("-inf"))
            self._announcer.spent = [float(at) for at in known["spent"] if at <= now]  # later: of before a reboot


def run(feeder: Feeder, source: int) -> None:
    """Feed until the source ends or SIGTERM comes, then withdraw everything."""
    pending = b""
    ending = False

    def end(_number: int, _frame: Any) -> None:
        nonlocal ending
        ending = True

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the agent ends us
    wait = 0.0
    while not ending:
        readable, _, _ = select.select([source], [], [], wait)
        if readable:
            piece = os.read(source, 1 << 16)
            if not piece:
                break
            pending += piece
            *lines, pending = pending.split(b"\n")
            if len(pending) > MOST_LINE:
                break
            if lines:
                feeder.take(lines[-1].decode(errors="replace"))
        wait = feeder.work(time.monotonic())
    feeder.leave()


def main(kind: str, place: str, most_routes: str, memory: str) -> None:
    """Feed the speaker of this kind from standard input."""
    speaker: Speaker = ExaBgp(Path(place)) if kind == "exabgp" else GoBgp(place)
    announcer = Announcer(int(most_routes), refresh_s=max(30.0, int(most_routes) / 5))

    def say(line: str) -> None:
        with suppress(OSError):
            print(line, flush=True)

    run(Feeder(speaker, announcer, Path(memory), say), sys.stdin.fileno())


if __name__ == "__main__":
    main(*sys.argv[1:])
