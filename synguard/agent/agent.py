"""One tick and the loop around it: read, assess, decide, write down, bring the kernel to it."""

from __future__ import annotations

import logging
import os
import random
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from synguard.addresses import Network
from synguard.agent.blocked_sockets import blocked_rows
from synguard.agent.decision_log import DecisionLog
from synguard.agent.enforcement import Enforcement
from synguard.agent.leak_monitor import LeakMonitor
from synguard.agent.mode_controller import ModeController, ModeParts
from synguard.agent.protected_list import ProtectedList
from synguard.agent.resource_usage import ResourceUsage
from synguard.agent.sensor_scheduler import HostSensors, SensorScheduler
from synguard.agent.syn_cookies import SynCookies
from synguard.agent.totals import Totals, active_bans_by
from synguard.clock import Clock
from synguard.decision.engine import Decision, Engine
from synguard.detector.assessment import Assessment
from synguard.detector.detector import Detector
from synguard.enforcer.nftables.nft import has_flowtables
from synguard.enforcer.reconcile.capacity import CapacityLevel
from synguard.errors import ConfigError, LedgerError
from synguard.ledger import Ledger
from synguard.logs import event
from synguard.model import Ban, Mode, Phase
from synguard.policy.models import Config, Policy
from synguard.readings import Protected, Readings
from synguard.status.builder import build_status
from synguard.status.model import Status
from synguard.status.publisher import Amendment, Publisher, Reader

log: Final = logging.getLogger(__name__)

FAULTS_LOGGED: Final = 20
"""Faults of a refused config that get a log line each; ``synguard policy check`` tells all."""
PRUNE_EVERY_S: Final = 600.0

Loader = Callable[[], tuple[Config, tuple[Policy, ...]]]
Record = Callable[[datetime, Readings, Protected], None]


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick came to, for tests and for the status."""

    assessment: Assessment
    decision: Decision
    blind: frozenset[str] = frozenset()
    """Sensors that cannot read at present: what the assessment says of theirs is of before."""


TickObserver = Callable[[Tick, float, datetime], None]
"""Told of a tick when all of it is done, with its monotonic and UTC time; must neither wait nor raise."""
Note = Callable[[], Iterable[str]]
"""Gives sentences for ``Status.notes``, empty ones are left out; must neither wait nor raise."""


class Agent:
    """Watches, decides and enforces until it is told to stop."""

    def __init__(
        self,
        config: Config,
        policies: Sequence[Policy],
        *,
        sources: HostSensors,
        enforcement: Enforcement,
        cookies: SynCookies,
        ledger: Ledger,
        clock: Clock,
        seed: int | None = None,
        mode_controller: ModeController | None = None,
        mode_by: str = "config",
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._mode_controller = mode_controller
        self._configured = mode_controller.configured if mode_controller else config.mode
        self._mode_by = mode_by
        self._enforcement = enforcement
        self._cookies = cookies
        self._sources = sources
        self._chance = random.Random(seed)  # noqa: S311  # jitter is no secret
        self._seed = secrets.randbits(32) if seed is None else seed
        self._started_at = clock.utcnow()
        self._resource_usage = ResourceUsage(clock.monotonic())
        self._stopping = False
        self.record: Record | None = None
        """Told what every tick knows; must neither wait nor raise."""
        self.observers: list[TickObserver] = []
        self._publisher = Publisher(config.runtime_dir)
        self._totals = Totals()
        self._reload: Loader | None = None
        self._sampling = self._wants_proof = False
        self._exceptions: frozenset[Network] = frozenset()
        self._protected_list = ProtectedList(config.state_dir)
        self.notes: list[Note] = [self._protected_list.notes]
        self.problems: list[Note] = []
        """Gives sentences for ``Status.problems``, as ``notes`` do for theirs."""
        self._leak_monitor = self._new_leak_monitor()
        self._decision_log = DecisionLog(ledger, dry_run=config.mode is Mode.DRY_RUN)
        self._reload_problem = ""
        self._prune_due = float("-inf")
        self._use(config, policies)
        self._engine = Engine(
            config, policies, new_id=self._new_id, chance=self._chance, offenders=self._offenders(policies)
        )
        self._engine.evaluator_state.protect(self._protected_list.known)

    @property
    def readers(self) -> list[Reader]:
        """Who is given each status as it is published."""
        return self._publisher.readers

    @property
    def amendments(self) -> list[Amendment]:
        """What adds to each status before it is published."""
        return self._publisher.amendments

    @property
    def phase(self) -> Phase:
        """Where the incident stands."""
        return self._engine.phase

    @property
    def protected(self) -> Protected:
        """Who may never be banned, as of the last read."""
        return self._protected_list.known

    @property
    def bans(self) -> Mapping[str, Ban]:
        """Ban id → ban of those that stand; in dry-run, those that would."""
        return self._enforcement.bans

    @property
    def mode(self) -> Mode:
        """Whether bans reach the kernel now."""
        return self._config.mode

    @property
    def by_hand(self) -> Mapping[str, Ban]:
        """In dry-run, the bans that stand for real; none while the agent enforces."""
        return self._enforcement.by_hand

    def adopt(self) -> None:
        """Take over the bans that stand, in ledger and kernel, before the first tick.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        now = self._clock.utcnow()
        self._enforcement.adopt(now)
        if self._mode_controller:
            self._mode_controller.took_over(self._enforcement.bans.values())
        self._cookies.adopt(self._clock.monotonic())
        self._follow_bans()
        for incident in self._ledger.incidents_since(now - timedelta(days=30)):
            if incident.ended_at is None:  # the last agent died in it; what goes on is told as a new one
                self._ledger.save_incident(replace(incident, phase=Phase.CALM, ended_at=now))

    def tick(self) -> Tick:
        """Do one whole turn; sensors, ledger and plane may each fail in it without ending it."""
        now, utc = self._clock.monotonic(), self._clock.utcnow()
        self._enforcement.follow_ledger(utc)
        self._follow_bans()
        if self._protected_list.follow(self._sensors, now):
            self._engine.evaluator_state.protect(self._protected_list.known)
        self._follow_mode(now, utc)
        readings = self._sensors.read(now, sampling=self._sampling, proof=self._wants_proof)
        if self.record is not None:
            self.record(utc, readings, self._protected_list.known)
        assessment = self._detector.assess(readings, self._engine.evaluator_state.active_bans.ban_filter(utc))
        decision = self._cookies.follow(self._engine.decide(assessment, utc), assessment, now, utc)
        self._enforcement.add(decision.bans)
        if decision.bans or assessment.completed is not None:
            self._exceptions = self._engine.proven_exceptions(utc)
        self._enforcement.bring(self._protected_list.known.networks, self._exceptions, now, utc)
        self._follow_bans()
        self._sampling, self._wants_proof = decision.wants_sampler, decision.wants_proof
        if self._sampling:
            self._sensors.begin_sampling(now)
        self._check_leaks(readings, now, utc)
        self._decision_log.write(decision, now, utc)
        self._totals.ticked(decision)
        tick = Tick(assessment, decision, self._sensors.failing)
        self._publisher.publish(lambda: self._status(tick, now, utc), now)
        self._prune(now, utc)
        for observer in self.observers:
            observer(tick, now, utc)
        return tick

    def run(self, for_s: float | None = None) -> None:
        """Tick until ``stop`` or for ``for_s`` seconds; slower than asked where a tick would cost too much CPU."""
        ends_at = float("inf") if for_s is None else self._clock.monotonic() + for_s
        next_at = float("inf")
        while not self._stopping:
            began, cpu = self._clock.monotonic(), time.thread_time()
            if began >= ends_at:
                break
            self._reload_if_asked()
            self.tick()
            self._resource_usage.ticked(self._clock.monotonic() - began, began - next_at)
            cost = time.thread_time() - cpu
            cadence = self._config.cadence
            every = cadence.calm if self.phase is Phase.CALM and not self._sampling else cadence.attack
            next_at = min(began + max(every, cost / cadence.cpu_share), ends_at)
            self._clock.wait(next_at - self._clock.monotonic())

    def stop(self) -> None:
        """End the loop after the present tick."""
        self._stopping = True

    def reload(self, load: Loader) -> None:
        """Ask for config and policies to be read again before the next tick."""
        self._reload = load

    def close(self) -> None:
        """Free the sensors and, if so configured, take everything of ours out of the kernel."""
        self._cookies.close(self._clock.utcnow())
        self._sensors.close()
        if self._config.on_exit == "flush" and self._config.mode is Mode.ENFORCE:
            self._enforcement.plane.flush()
            log.info("removed every rule of ours, as on_exit says", extra=event("stop"))

    def _use(self, config: Config, policies: Sequence[Policy]) -> None:
        self._config = config
        self._cookies.use(config)
        self._policies = tuple(policies)
        self._sensors = SensorScheduler(config, self._sources)
        self._detector = Detector(policies, self._seed)

    def _offenders(self, policies: Sequence[Policy]) -> dict[Network, tuple[int, datetime]]:
        memory = timedelta(seconds=max(policy.bans.memory for policy in policies))
        known = self._ledger.offences(self._clock.utcnow() - memory, dry_run=self._config.mode is Mode.DRY_RUN)
        return {target: (offence.times, offence.last) for target, offence in known.items()}

    def _known_offenders(self) -> dict[Network, tuple[int, datetime]]:
        """Return the offenders; none where the ledger cannot be read, so that repeaters pass for first ones."""
        try:
            return self._offenders(self._policies)
        except LedgerError as error:
            log.error("%s", error, extra=event("ledger"))
            return {}

    def _new_id(self) -> str:
        return secrets.token_hex(6)  # of 32 bits, one in 20,000 bans would meet its like in a full ledger

    def _follow_bans(self) -> None:
        ban_changes = self._enforcement.ban_changes()
        if ban_changes is not None:
            self._engine.evaluator_state.active_bans.follow(
                ban_changes.arrived, ban_changes.departed, self._clock.utcnow()
            )

    def _follow_mode(self, now: float, utc: datetime) -> None:
        """Take up the mode that ``synguard enable`` ordered, or go back to the config's."""
        mode_controller = self._mode_controller
        if mode_controller is None:
            return
        wanted = mode_controller.wanted(now)
        if wanted is not self._config.mode:
            parts = mode_controller.parts(wanted, now, utc)
            if parts is not None:
                self._enter(wanted, mode_controller, parts, now, utc)
        elif self._config.mode is Mode.DRY_RUN and mode_controller.follow_up(
            self._protected_list.known.networks, now, utc
        ):
            self._enforcement.follow_ledger(utc, anyway=True)
            self._follow_bans()
        self._engine.evaluator_state.ends_by = mode_controller.ends_by(now, utc)

    def _enter(self, mode: Mode, mode_controller: ModeController, parts: ModeParts, now: float, utc: datetime) -> None:
        """Change the mode between two ticks; who is proven, the scores and the incident stay known."""
        self._cookies.close(utc)
        before = self._enforcement
        self._config = self._config.model_copy(update={"mode": mode})
        self._enforcement, self._cookies = parts.enforcement, parts.cookies
        self._cookies.adopt(now)
        dry_run = mode is Mode.DRY_RUN
        if dry_run:
            mode_controller.leave(before.reconciler, self._protected_list.known.networks, now, utc)
            self._enforcement.follow_ledger(utc, anyway=True)
        else:
            mode_controller.took_over(self._enforcement.bans.values())
            mode_controller.entered(utc)
        self._decision_log.set_dry_run(dry_run)
        self._leak_monitor = self._new_leak_monitor()
        self._engine.set_dry_run(dry_run, self._known_offenders())
        self._follow_bans()
        self._exceptions = self._engine.proven_exceptions(utc)

    def _new_leak_monitor(self) -> LeakMonitor:
        return LeakMonitor(self._ledger.record_action, self._enforcement.plane.show_command, has_flowtables)

    def _check_leaks(self, readings: Readings, now: float, utc: datetime) -> None:
        """Free the half-open sockets that bans made useless, and look whether what is banned still arrives."""
        if self._config.mode is Mode.DRY_RUN:
            return
        active_bans, through = self._engine.evaluator_state.active_bans, self._enforcement.let_through
        ban_filter = active_bans.ban_filter(utc)
        if self._enforcement.bans and readings.half_open is not None:
            for namespace, table in readings.half_open.parts():
                rows = blocked_rows(table, ban_filter, through)
                self._leak_monitor.observe(namespace, rows, "half-open", active_bans, now, utc)
                opener = self._sources.opener(namespace)
                if opener is not None:
                    self._enforcement.clear(self._sources.as_there(namespace, rows), namespace, opener)
        if self._enforcement.bans and readings.connections is not None:
            for namespace, table in readings.connections.parts():
                self._leak_monitor.observe(
                    namespace, blocked_rows(table, ban_filter, through), "connections", active_bans, now, utc
                )
        self._leak_monitor.read(self._enforcement.outcome, self._enforcement.bans, now, utc)

    def _reload_if_asked(self) -> None:
        load, self._reload = self._reload, None
        if load is None:
            return
        try:
            config, policies = load()
        except ConfigError as error:
            self._reload_problem = f"the new configuration was refused and the running one kept: {error.problems[0]}"
            for problem in error.problems[:FAULTS_LOGGED]:
                log.error("reload refused, the running policy is kept: %s", problem, extra=event("reload-refused"))
            return
        self._reload_problem = ""
        fixed = {name: getattr(self._config, name) for name in FIXED if hasattr(config, name)}
        known = fixed | {"mode": self._configured}
        changed = [name for name, value in known.items() if getattr(config, name) != value]
        if changed:
            log.warning("%s takes effect at the next start", ", ".join(changed), extra=event("reload"))
        self._sampling = False
        self._sensors.rest()
        self._use(config.model_copy(update=fixed), policies)
        self._engine.use(self._config, policies)
        names = ", ".join(policy.name for policy in policies)
        log.info("reloaded: policies %s", names, extra=event("reload", policies=names))

    def _status(self, tick: Tick, now: float, utc: datetime) -> Status:
        return build_status(
            tick.assessment,
            tick.decision,
            config=self._config,
            policies=self._policies,
            plane=self._enforcement.plane,
            sensors=self._sensors.health,
            problems=self._problems(tick.decision),
            scores=self._engine.scores,
            bans=len(self._enforcement.bans),
            proven=len(self._engine.evaluator_state.proven),
            started_at=self._started_at,
            now=utc,
            pid=os.getpid(),
            countermeasures=self._cookies.status(),
            leaks=self._leak_monitor.leaks,
            plane_problem=self._enforcement.problem,
            notes=tuple(text for note in self.notes for text in note() if text),
            bans_by=active_bans_by(self._enforcement.counts),
            totals=self._totals.status(self._decision_log.verdicts, self._enforcement),
            sampling_one_in=self._sensors.sampling_one_in,
            ledger_bytes=self._ledger.size(),
            levels=self._levels(),
            mode_by="order" if self._mode_controller and self._mode_controller.by_order else self._mode_by,
            mode_story=self._mode_controller.story if self._mode_controller else "",
            confirm_by=self._engine.evaluator_state.ends_by,
            agent=self._resource_usage.sum_up(now),
        )

    def _levels(self) -> tuple[CapacityLevel, ...]:
        """Return how full the kernel's fullest place is, and how much of the budget of standing bans is spent."""
        kernel, most = self._enforcement.admission.level, self._config.budget.active_bans
        budget = CapacityLevel(
            "automatic bans", self._engine.evaluator_state.active_bans.automatic, most, "budget.active_bans"
        )
        return (*([kernel] if kernel else []), budget)

    def _problems(self, decision: Decision) -> tuple[str, ...]:
        suspended = self._protected_list.problems
        others = (
            self._enforcement.problem,
            self._enforcement.disputed,
            self._enforcement.admission.problem,
            self._mode_controller.problem if self._mode_controller else "",
            *self._leak_monitor.problems,
            self._cookies.problem,
            self._enforcement.ledger_problem or self._decision_log.problem,
            self._reload_problem,
            *(text for problem in self.problems for text in problem()),
            next(iter(decision.refusals), "") if not suspended else "",
        )
        return (*suspended, *(problem for problem in others if problem))

    def _prune(self, now: float, utc: datetime) -> None:
        if now < self._prune_due:
            return
        self._prune_due = now + PRUNE_EVERY_S
        try:
            self._ledger.prune(utc)
        except LedgerError as error:
            log.error("%s", error, extra=event("ledger"))


FIXED: Final = (
    "mode", "plane", "members", "state_dir", "runtime_dir", "containers", "ceilings", "log", "notify", "metrics",
    "crowdsec", "bgp",
)  # fmt: skip
"""Settings that a reload leaves as they are: they are woven into open files and kernel objects."""
