"""Messages beside the tick: what is seen of it goes to the alert policy, what that says to the services."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from synguard.agent.agent import Agent
from synguard.agent.tick import Tick
from synguard.clock import Clock
from synguard.detector.assessment import ListenerPressure
from synguard.errors import ConfigError
from synguard.logs import event
from synguard.model import Mode
from synguard.notify.alert_policy import AlertPolicy, Seen
from synguard.notify.dispatcher import Dispatcher, Worker
from synguard.notify.message import About
from synguard.notify.sender import Sender
from synguard.notify.services import host_name, load_key, load_services
from synguard.plain import clipped, printable
from synguard.policy.models import Config
from synguard.status.conditions import Code, Severity
from synguard.status.model import FloodStatus, Status

log: Final = logging.getLogger(__name__)

REMEMBER_EVERY_S: Final = 60.0
"""How often the figures of an attack under way are written down for a next agent."""
OFTEN: Final = 3
"""Repairs within an hour that make another tool's work worth telling."""
ABOUTS: Final = {
    Code.PROTECTED_UNKNOWN: About.SUSPENDED,
    Code.BANS_REFUSED: About.BUDGET,
    Code.PLANE_FAILED: About.PLANE,
    Code.LEAK: About.LEAK,
    Code.FLEET_FAILED: About.PEER,
}
"""Conditions that have messages of their own; any other problem is reported as ``unhealthy``."""


class Alerts:
    """Tells the alert policy what an agent's ticks and statuses say; neither waits nor raises."""

    def __init__(self, alert_policy: AlertPolicy, dispatcher: Dispatcher) -> None:
        self._alert_policy = alert_policy
        self._dispatcher = dispatcher
        self._status: Status | None = None
        self._last: Status | None = None
        self._incident = ""
        self._repairs: deque[float] = deque(maxlen=OFTEN)
        self._repairs_known = 0
        self._remember_at = 0.0
        self.problem = ""

    def read(self, status: Status) -> None:
        """Take in a status; the end of the same tick makes use of it."""
        self._status = self._last = status

    def look(self, tick: Tick, now: float, utc: datetime) -> None:
        """Look at a tick; most are passed over at once."""
        incident = tick.decision.incident
        turned = incident is not None and (incident.id != self._incident or incident.ended_at is not None)
        if (self._status is None and not turned) or self._last is None or self.problem:
            return
        self._incident = incident.id if incident is not None else ""
        self._status = None
        try:
            self._tell(tick, self._last, now, utc)
        except Exception as error:  # a fault in what is reported must not end what protects
            self.problem = f"messages have stopped: {type(error).__name__} in synguard itself; please report it"
            log.exception("%s", self.problem, extra=event("notify"))

    def _tell(self, tick: Tick, status: Status, now: float, utc: datetime) -> None:
        message = self._alert_policy.see(
            Seen(
                at=now,
                utc=utc,
                incident=tick.decision.incident,
                dry_run=status.mode is Mode.DRY_RUN,
                ports=tuple(dict.fromkeys(map(_port, _attacked(tick)))),
                served="; ".join(filter(None, (served(status.flood), challenged_words(status)))),
                states=self._states(status, now),
            )
        )
        if message is not None:
            self._dispatcher.enqueue(message)
        if message is not None or now >= self._remember_at:
            self._remember_at = now + REMEMBER_EVERY_S
            memory = self._alert_policy.memory(now, utc)
            if message is not None or memory.told is not None:
                self._dispatcher.remember(memory)

    def _states(self, status: Status, now: float) -> Mapping[About, str]:
        """Return what an operator must know of: the first condition of each kind."""
        found: dict[About, str] = {}
        for one in status.conditions:
            if one.code in ABOUTS:
                found.setdefault(ABOUTS[one.code], one.text)
            elif one.severity is Severity.PROBLEM:
                found.setdefault(About.UNHEALTHY, f"not healthy: {one.text}")
        if About.BUDGET in found:
            found[About.BUDGET] = f"not banning: {found[About.BUDGET]}"
        if self._repaired_often(status.totals.repairs, now):
            found[About.REPAIRS] = f"our rules were removed {OFTEN} times within an hour, and are back"
        cookies = next((one.text for one in status.countermeasures if not one.dry_run), "")
        if cookies:
            found[About.COOKIES] = cookies
        return found

    def _repaired_often(self, repairs: int, now: float) -> bool:
        fresh = repairs - self._repairs_known
        self._repairs_known = repairs
        self._repairs.extend([now] * min(fresh, OFTEN))
        return len(self._repairs) == OFTEN and now - self._repairs[0] < 3600.0


def served(flood: FloodStatus) -> str:
    """Return whether clients are served, one sentence."""
    if flood.dropped_pps >= 1:
        done = f"{flood.completed_pps:.0f} handshakes/s complete"
        return f"clients are turned away: a full queue drops {flood.dropped_pps:.0f} SYN/s, {done}"
    if flood.accept_overflows_pps >= 1:
        return f"clients wait: the application accepts too slowly ({flood.accept_overflows_pps:.0f}/s are lost)"
    if flood.completed_pps < 0.5:
        return "no client is turned away, and none came in the last second"
    return f"clients are served: {flood.completed_pps:.0f} handshakes/s complete, none is turned away"


def challenged_words(status: Status) -> str:
    """Return how many targets are challenged and what became of their SYNs; nothing where none is."""
    targets, totals = status.challenges.targets, status.totals
    would = " would be" if status.mode is Mode.DRY_RUN else ""
    counts = (
        "" if would else f", {totals.answered} SYNs answered, {totals.passed} passed, {totals.limited} over a limit"
    )
    return f"targets that{would or ' are'} challenged: {targets}{counts}" if targets else ""


def _attacked(tick: Tick) -> Iterator[ListenerPressure]:
    """Yield listeners whose queue fills, and those that offenders write to: behind a challenge none fills."""
    named = {port for verdict in tick.decision.verdicts for one in verdict.evidence for port in one.ports}
    for listener in tick.assessment.pressure:
        if listener.attacked or listener.port in named:
            yield listener


def _port(listener: ListenerPressure) -> str:
    process = f" ({clipped(printable(listener.process), 40)})" if listener.process else ""
    return f"{listener.port}{process}"


@contextmanager
def alerting(agent: Agent, config: Config, clock: Clock) -> Iterator[Dispatcher]:
    """Let messages go out while the agent runs, and give who delivers them; where they cannot, it says so."""
    settings = config.notify
    try:
        services, key = load_services(settings), load_key(settings)
    except ConfigError as error:
        text = f"no messages are sent: {error.problems[0]}"
        log.error("%s", text, extra=event("notify"))
        agent.conditions.ask(Code.MESSAGES_FAILED, lambda: text)
        services = ()
    if not services:
        yield Dispatcher((), config.state_dir)
        return
    sender = Sender(host_name(settings), key)
    dispatcher = Dispatcher([Worker(service, sender) for service in services], config.state_dir)
    alert_policy = AlertPolicy(settings, dispatcher.recall(), at=clock.monotonic(), utc=clock.utcnow())
    alerts = Alerts(alert_policy, dispatcher)
    agent.publisher.readers.append(alerts.read)
    agent.observers.append(alerts.look)
    agent.conditions.ask(Code.MESSAGES_FAILED, lambda: (alerts.problem, *dispatcher.problems))
    dispatcher.start()
    try:
        yield dispatcher
    finally:
        dispatcher.stop()
