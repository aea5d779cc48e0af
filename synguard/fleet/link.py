"""The agent's ends of the two processes beside it: what holds routes, and what follows decisions."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from synguard.fleet.child import Child
from synguard.fleet.feeder import LEAVING_S, MEMORY
from synguard.fleet.follower import HostView
from synguard.fleet.peer import PeerRecord
from synguard.fleet.routes import Route
from synguard.jsonable import jsonable
from synguard.policy.fleet import Bgp

_COUNTS: Final = ("announced", "waiting", "refused")
_FOLLOWING_ENDS_S: Final = 1.0


class FeederLink:
    """Starts the feeder, tells it what is wanted, and takes in what it says."""

    def __init__(self, settings: Bgp, state_dir: Path, record: PeerRecord) -> None:
        place = str(settings.pipe) if settings.speaker == "exabgp" else "gobgp"
        arguments = (settings.speaker, place, str(settings.most_routes), str(state_dir / MEMORY))
        self.child = Child((*_module("feeder"), *arguments), LEAVING_S + 1.0)
        self._most_routes = settings.most_routes
        self._record = record

    def want(self, routes: Mapping[Route, float], now: float, utc: datetime) -> None:
        """Tell the feeder all that is wanted: route → seconds that it may stand; starts the feeder where it is not.

        Of more than ``most_routes`` the first are sent. A feeder that is behind gets the newest state afterwards.
        """
        try:
            self.child.ensure(now)
        except OSError as error:
            self._record.failed(utc, f"the process that holds routes cannot be started: {error.strerror}")
            return
        word = ""
        if not self.child.behind:
            chosen = islice(routes.items(), self._most_routes)
            told = {
                "routes": [[jsonable(route), now + left_s] for route, left_s in chosen],
                "refused": max(len(routes) - self._most_routes, 0),
            }
            word = json.dumps(told)
        self.child.tell(word)
        self._take_in(self.child.lines(), utc)

    def close(self) -> None:
        """End the feeder, which withdraws everything first."""
        self.child.close()

    def _take_in(self, lines: list[bytes], utc: datetime) -> None:
        if not lines:
            return
        with suppress(ValueError):
            said = json.loads(lines[-1])
            counts = {name: int(said[name]) for name in _COUNTS}
            if said["reachable"]:
                self._record.answered(utc, counts)
            elif said["reachable"] is False:
                self._record.failed(utc, said["error"])


class FollowerLink:
    """Starts what follows decisions, tells it what it must know of this host, and takes in what became of the peer.

    Secrets go through its input, which no other process can read; a command line is there for all to see.
    """

    def __init__(self, settings: Mapping[str, Any], record: PeerRecord) -> None:
        self.child = Child(_module("following"), _FOLLOWING_ENDS_S)
        self._settings = settings
        self._record = record
        self._told: HostView | None = None

    def show(self, view: HostView, now: float, utc: datetime) -> None:
        """Have it follow decisions as this host is now; starts it where it does not run."""
        try:
            if self.child.ensure(now):
                self._told = None
                self.child.tell(json.dumps(self._settings))
        except OSError as error:
            self._record.failed(utc, f"the process that follows decisions cannot be started: {error.strerror}")
            return
        word = ""
        if view != self._told and not self.child.behind:
            self._told = view
            word = json.dumps(jsonable(view))
        self.child.tell(word)
        for line in self.child.lines():
            with suppress(ValueError, KeyError, TypeError):
                self._take_in(json.loads(line), utc)

    def close(self) -> None:
        """End it."""
        self.child.close()

    def _take_in(self, said: Mapping[str, Any], utc: datetime) -> None:
        if "failed" in said:
            self._record.failed(utc, str(said["failed"]))
        else:
            counts = {str(name): int(count) for name, count in said["counts"].items()}
            self._record.answered(utc, counts, tuple(map(str, said["notes"])))


def _module(name: str) -> tuple[str, ...]:
    return sys.executable, "-P", "-m", f"synguard.fleet.{name}"
