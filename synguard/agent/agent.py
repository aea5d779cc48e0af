"""One tick and the loop around it: read, assess, decide, write down, bring the kernel to it."""

from __future__ import annotations

import logging
import os
import random
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from synguard.addresses import Network
from synguard.agent.challenge_steps import ChallengeSteps
from synguard.agent.challenging import Challenging
from synguard.agent.config_reload import Loader, RunningConfig
from synguard.agent.journal import Journal
from synguard.agent.mode_controller import ModeController
from synguard.agent.mode_parts import ModeParts
from synguard.agent.pace import Pace
from synguard.agent.sensing import Sensing
from synguard.agent.sensor_scheduler import HostSensors
from synguard.agent.tick import Tick, TickObserver
from synguard.agent.totals import active_bans_by
from synguard.clock import Clock
from synguard.decision.engine import Engine
from synguard.decision.ladder import ChallengeState
from synguard.enforcer.reconcile.capacity import CapacityLevel
from synguard.incidents import Phase
from synguard.ledger import Ledger
from synguard.logs import event
from synguard.model import Ban, Mode
from synguard.operator.panic import OVER
from synguard.packed_bans import PackedBans
from synguard.policy.models import Config, Policy
from synguard.status.builder import build_status
from synguard.status.conditions import Code, Conditions
from synguard.status.model import CapacityStatus, Status
from synguard.status.publisher import Publisher

log: Final = logging.getLogger(__name__)


class Agent:
    """Watches, decides and enforces until it is told to stop."""

    def __init__(
        self,
        config: Config,
        policies: Sequence[Policy],
        *,
        sensors: HostSensors,
        parts: ModeParts,
        ledger: Ledger,
        clock: Clock,
        mode_controller: ModeController,
        seed: int | None = None,
        challenging: Challenging | None = None,
        challenge: Callable[[], ChallengeState] | None = None,
    ) -> None:
        """``challenge`` says whether SYNs can be challenged now: the program by default."""
        started_at = clock.utcnow()
        self._running = RunningConfig(config, policies, mode_controller.configured)
        self._mode_controller = mode_controller
        self._parts = parts
        self._journal = Journal(ledger, started_at, dry_run=config.mode is Mode.DRY_RUN)
        self._engine = Engine(
            config,
            policies,
            new_id=_new_id,
            chance=random.Random(seed),  # noqa: S311  # jitter is no secret
            offenders=self._journal.offenders(policies, started_at, config.mode),
        )
        self.sensing: Final = Sensing(config, policies, sensors, secrets.randbits(32) if seed is None else seed)
        self._engine.evaluator_state.protect(self.sensing.protected)
        self.challenges: Final = ChallengeSteps(self._engine, ledger, challenging, challenge)
        self._pace = Pace(clock, self.sensing, self.challenges)
        self.publisher: Final = Publisher(config.runtime_dir)
        self.conditions: Final = Conditions(clock.utcnow)
        """What the operator must know of; other parts of the process may have theirs asked for too."""
        self.observers: Final[list[TickObserver]] = []
        """Who is told of each tick when all of it is done."""
        self._exceptions: frozenset[Network] = frozenset()
        self._ask_for_conditions()

    @property
    def phase(self) -> Phase:
        """Where the incident stands."""
        return self._engine.phase

    @property
    def bans(self) -> Mapping[str, Ban]:
        """Ban id → active ban; in dry-run, those that would be active."""
        return self._parts.enforcement.bans

    def automatic(self) -> Iterator[Ban]:
        """Yield the automatic ones of the active bans."""
        return self._parts.enforcement.automatic()

    @property
    def mode(self) -> Mode:
        """Whether bans reach the kernel now."""
        return self._running.mode

    @property
    def plane(self) -> str:
        """The name of the plane that bans are brought to; empty while it does not hold what is wanted."""
        enforcement = self._parts.enforcement
        return "" if enforcement.problem else enforcement.plane.name

    @property
    def by_hand(self) -> PackedBans:
        """In dry-run, the bans that are active for real; none while the agent enforces."""
        return self._parts.enforcement.by_hand

    def adopt(self) -> None:
        """Take over the active bans, in ledger and kernel, before the first tick.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        utc = self._pace.clock.utcnow()
        self._parts.enforcement.tell(self._engine.evaluator_state.active_bans, utc)
        self._parts.enforcement.adopt(utc)
        self._mode_controller.took_over(self.automatic())
        self._parts.cookies.adopt(self._pace.clock.monotonic())
        self._journal.end_open_incidents(utc)

    def tick(self) -> Tick:
        """Do one whole turn; sensors, ledger and plane may each fail in it without ending it."""
        now, utc = self._pace.clock.monotonic(), self._pace.clock.utcnow()
        state = self._engine.evaluator_state
        self._parts.enforcement.follow_ledger(utc)
        if self.sensing.follow_protected(now):
            state.protect(self.sensing.protected)
        self._follow_mode(now, utc)
        readings = self.sensing.read(now, utc)
        assessment = self.sensing.assess(readings, state.active_bans.ban_filter(utc), now)
        self.challenges.learn(self._parts)
        decision = self._engine.decide(assessment, utc)
        counting = self.sensing.scheduler.sampling_one_in > 0
        decision = self.challenges.follow(decision, assessment, self._parts, now, utc, counting=counting)
        self._parts.enforcement.add(decision.bans, decision.replaced)
        if decision.bans or assessment.completed is not None:
            self._exceptions = self._engine.proven_exceptions(utc)
        self._parts.enforcement.bring(self.sensing.protected.networks, self._exceptions, now, utc)
        self.sensing.want(decision, now)
        self._pace.decided(
            decision,
            now,
            rising=lambda: self._parts.enforcement.busy or self._engine.rising(utc),
            nearing=lambda: self._engine.nearing(utc),
        )
        if self._parts.enforcing:
            self._parts.effect.follow(readings, state.active_bans, now, utc)
            self._parts.effect.trim(readings, decision.excess, state.containers)
        self._journal.write(decision, now, utc)
        tick = Tick(assessment, decision, self.sensing.scheduler.failing)
        self.conditions.refresh()
        self.publisher.publish(lambda: self._status(tick, now, utc), now)
        self._journal.prune(now, utc)
        for observer in self.observers:
            observer(tick, now, utc)
        return tick

    def run(self, for_s: float | None = None) -> None:
        """Tick until ``stop`` or for ``for_s`` seconds; slower than asked where a tick would cost too much CPU."""
        self._pace.begin(for_s)
        while self._pace.begin_tick():
            if self._running.reload():
                config, policies = self._running.config, self._running.policies
                self._parts.cookies.use(config)
                self.sensing.use(config, policies)
                self._engine.use(config, policies)
            self.tick()
            enforcement = self._parts.enforcement
            idle = not (len(self._engine.scores) or enforcement.busy or enforcement.reconciler.looking)
            self._pace.wait(self._running.config.cadence, calm=self.phase is Phase.CALM, idle=idle)

    def stop(self) -> None:
        """End the loop after the present tick."""
        self._pace.stopping = True

    def reload(self, load: Loader) -> None:
        """Ask for config and policies to be read again before the next tick."""
        self._running.ask(load)

    def close(self) -> None:
        """Free the sensors and, if so configured, take everything of ours out of the kernel."""
        self.challenges.end(self._parts, self._pace.clock)
        self.sensing.close()
        if self._running.config.on_exit == "flush" and self._parts.enforcing:
            self._parts.enforcement.plane.flush()
            log.info("removed every rule of ours, as on_exit says", extra=event("stop"))

    def _follow_mode(self, now: float, utc: datetime) -> None:
        """Take up the mode that ``synguard enable`` ordered, or go back to the config's."""
        wanted = self._mode_controller.wanted(now)
        if wanted is not self.mode:
            parts = self._mode_controller.parts(wanted, now, utc)
            if parts is not None:
                self._enter(wanted, parts, now, utc)
        elif not self._parts.enforcing and self._mode_controller.follow_up(self.sensing.protected.networks, now, utc):
            self._parts.enforcement.follow_ledger(utc, anyway=True)
        self._engine.evaluator_state.ends_by = self._mode_controller.ends_by(now, utc)

    def _enter(self, mode: Mode, parts: ModeParts, now: float, utc: datetime) -> None:
        """Change the mode between two ticks; who is proven, the scores and the incident stay known."""
        if not parts.enforcing:
            reconciler = self._parts.enforcement.reconciler
            self._mode_controller.leave(reconciler, self.sensing.protected.networks, now, utc)
        self.challenges.end(self._parts, self._pace.clock)
        self._running.enter(mode)
        self._parts = parts
        parts.cookies.adopt(now)
        if parts.enforcing:
            self._mode_controller.took_over(self.automatic())
            self._mode_controller.entered(utc)
        else:
            parts.enforcement.follow_ledger(utc, anyway=True)
        dry_run = not parts.enforcing
        self._journal.decisions.set_dry_run(dry_run)
        self._engine.set_dry_run(dry_run, self._journal.known_offenders(self._running.policies, utc, mode))
        parts.enforcement.tell(self._engine.evaluator_state.active_bans, utc)
        self._exceptions = self._engine.proven_exceptions(utc)

    def _status(self, tick: Tick, now: float, utc: datetime) -> Status:
        state, parts, journal = self._engine.evaluator_state, self._parts, self._journal
        told = Status(
            mode=self.mode,
            mode_by=self._mode_controller.by,
            mode_story=self._mode_controller.story,
            confirm_by=state.ends_by,
            plane=parts.enforcement.plane.name,
            show_command=parts.enforcement.plane.show_command,
            conditions=self.conditions.all,
            pid=os.getpid(),
            started_at=journal.started_at,
            last_reading_at=utc,
            policies=tuple(policy.name for policy in self._running.policies),
            countermeasures=parts.cookies.status(),
            leaks=parts.effect.leak_monitor.leaks,
            ceilings=tuple(
                CapacityStatus(name=level.place, used=level.used, ceiling=level.ceiling, key=level.key)
                for level in self._levels()
            ),
            bans_active=len(self.bans),
            bans_by=active_bans_by(parts.enforcement.counts),
            challenges=self.challenges.status(),
            proven_peers=len(state.proven),
            totals=journal.totals.status(journal.decisions.verdicts, parts.enforcement),
            sampling_one_in=self.sensing.scheduler.sampling_one_in,
            ledger_bytes=journal.ledger.size(),
            sensors=self.sensing.scheduler.health,
            agent=self._pace.usage.sum_up(now),
        )
        return build_status(told, tick.assessment, tick.decision, self._engine.scores)

    def _levels(self) -> tuple[CapacityLevel, ...]:
        """Return how full the kernel's fullest place is, and how much of the budget of active bans is spent."""
        kernel, most = self._parts.enforcement.admission.level, self._running.config.budget.active_bans
        automatic = self._engine.evaluator_state.active_bans.automatic
        budget = CapacityLevel("automatic bans", automatic, most, "budget.active_bans")
        return (*([kernel] if kernel else []), budget)

    def _ask_for_conditions(self) -> None:
        ask, controller = self.conditions.ask, self._mode_controller
        self.sensing.ask_for_conditions(self.conditions)
        ask(Code.PLANE_FAILED, lambda: self._parts.enforcement.problem)
        ask(Code.REPAIRS_DISPUTED, lambda: self._parts.enforcement.disputed)
        ask(Code.CAPACITY_FULL, lambda: self._parts.enforcement.admission.problem)
        ask(Code.CAPACITY_NEAR, lambda: {level.key: level.warning for level in self._levels()})
        ask(Code.BANS_ON_THE_WAY, lambda: self._parts.enforcement.on_the_way)
        ask(Code.MODE_CHANGE_FAILED, lambda: controller.problem)
        ask(Code.PANIC, lambda: controller.panic_story, fix=OVER)
        ask(Code.LEAK, lambda: self._parts.effect.leak_monitor.problems, fix="synguard doctor")
        ask(Code.SYN_COOKIES_FAILED, lambda: self._parts.cookies.problem)
        ask(Code.LEDGER_FAILED, lambda: self._parts.enforcement.writer.problem or self._journal.decisions.problem)
        ask(Code.RELOAD_REFUSED, lambda: self._running.problem, fix="synguard policy check")
        ask(Code.BANS_REFUSED, lambda: "" if self.sensing.protected.problems else self._journal.refusal)
        ask(Code.STATUS_FILE_FAILED, lambda: self.publisher.problem)


def _new_id() -> str:
    return secrets.token_hex(6)  # of 32 bits, one in 20,000 bans would meet its like in a full ledger
