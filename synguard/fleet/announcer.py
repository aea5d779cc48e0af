"""Which routes to announce and withdraw: what is wanted against what was announced, with bounds; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from synguard.fleet.routes import Route

PER_MINUTE: Final = 1_000
"""Announcements in any minute, whatever happens; withdrawals are never held back."""


@dataclass(frozen=True, slots=True)
class RouteStep:
    """One thing to say to a speaker."""

    announce: bool
    route: Route


@dataclass(slots=True)
class Announcer:
    """Keeps what was announced to a speaker; routes end at their deadline without a word from anybody."""

    most_routes: int
    refresh_s: float
    """Time after which a route that stands is announced again, so that a speaker that was restarted has it."""
    wanted: dict[Route, float] = field(default_factory=dict)
    """Route → deadline in monotonic seconds, in order of worth."""
    announced: dict[Route, float] = field(default_factory=dict)
    """Route as announced → when it was last announced."""
    refused: int = 0
    """Routes that are wanted beyond ``most_routes``."""
    spent: list[float] = field(default_factory=list)
    """When each announcement of the last minute was made."""

    def want(self, routes: Mapping[Route, float]) -> None:
        """Take in what is wanted from now on: route → deadline, the most important first."""
        chosen: dict[Route, float] = {}
        matches: set[Route] = set()
        for route, deadline in routes.items():
            if len(chosen) < self.most_routes and route.matched not in matches:
                matches.add(route.matched)
                chosen[route] = deadline
        self.wanted = chosen
        self.refused = len(routes) - len(chosen)

    def steps(self, now: float) -> list[RouteStep]:
        """Return what is to be said now; the same is returned again until ``done`` says that it was."""
        current = {route for route, deadline in self.wanted.items() if deadline > now}
        going = [RouteStep(False, route) for route in self.announced if route not in current]
        coming = [
            RouteStep(True, route)
            for route in self.wanted
            if route in current and now - self.announced.get(route, float("-inf")) >= self.refresh_s
        ]
        self.spent = [at for at in self.spent if at > now - 60.0]
        return going + coming[: PER_MINUTE - len(self.spent)]

    def done(self, step: RouteStep, now: float) -> None:
        """Note that a speaker took a step."""
        if step.announce:
            self.announced[step.route] = now
            self.spent.append(now)
        else:
            self.announced.pop(step.route, None)

    def leave(self) -> list[RouteStep]:
        """Return what withdraws everything."""
        return [RouteStep(False, route) for route in self.announced]

    def next_at(self) -> float:
        """Return when the next deadline passes or refresh is due, in monotonic seconds; infinite where none is."""
        due: Iterable[float] = (at + self.refresh_s for route, at in self.announced.items() if route in self.wanted)
        return min((*self.wanted.values(), *due), default=float("inf"))
