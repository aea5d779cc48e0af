"""One tick and the loop around it: read, assess, decide, write down, bring the kernel to it."""
# long: the order of a tick, and what each part is given, are read in one piece

from __future__ import annotations

import logging
import os
import random
import secrets
import select
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from synguard.addresses import Network
from synguard.agent.ban_effect import BanEffect
from synguard.agent.challenging import MOST_PROVEN, Challenging
from synguard.agent.config_reload import ConfigReload, Loader
from synguard.agent.decision_log import DecisionLog
from synguard.agent.enforcement import Enforcement
from synguard.agent.ledger_maintenance import LedgerMaintenance
from synguard.agent.mode_controller import ModeController, ModeParts
from synguard.agent.protected_list import ProtectedList
from synguard.agent.resource_usage import ResourceUsage
from synguard.agent.sensor_scheduler import HostSensors, SensorScheduler
from synguard.agent.short_lived import ShortLived
from synguard.agent.syn_cookies import SynCookies
from synguard.agent.totals import Totals, active_bans_by
from synguard.clock import Clock
from synguard.decision.engine import Decision, Engine
from synguard.decision.ladder import ChallengeState
from synguard.detector.assessment import Assessment
from synguard.detector.detector import Detector
from synguard.enforcer.reconcile.capacity import CapacityLevel
from synguard.enforcer.sysctl import SYN_COOKIES
from synguard.ledger import Ledger
from synguard.logs import event
from synguard.model import Ban, Mode, Phase
from synguard.operator.panic import OVER
from synguard.policy.models import Config, Policy
from synguard.readings import Protected, Readings
from synguard.status.builder import build_status
from synguard.status.conditions import Code, Conditions
from synguard.status.model import ChallengeStatus, Status
from synguard.status.publisher import Amendment, Publisher, Reader

log: Final = logging.getLogger(__name__)

REST_S: Final = 1.01
"""Between two ticks of a calm host on which nothing stirs: what is due once a second is due then."""

LAST_ACK_S: Final = 1.0
"""How long an agent that ends amid challenges waits for the ACKs of clients that were answered."""

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


class Agent:  # wide: the loop holds one of each part that a tick goes through
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
        self._reload = ConfigReload(mode_controller.configured if mode_controller else config.mode)
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
        self.challenge: Callable[[], ChallengeState] = ChallengeState
        """Says whether SYNs can be challenged now."""
        self.challenging: Challenging | None = None
        """The challenge program; None where there is none."""
        self.observers: list[TickObserver] = []
        self._publisher = Publisher(config.runtime_dir)
        self.conditions = Conditions(clock.utcnow)
        """What the operator must know of; other parts of the process may have theirs asked for too."""
        self._refusal = ""
        self._totals = Totals()
        self._sampling = self._wants_proof = False
        self._unsampled_pps = 0.0
        self._exceptions: frozenset[Network] = frozenset()
        self._protected_list = ProtectedList(config.state_dir)
        self._ban_effect = BanEffect(ledger, enforcement, sources)
        self._short_lived = ShortLived(sources.ended)
        self._decision_log = DecisionLog(ledger, dry_run=config.mode is Mode.DRY_RUN)
        self._maintenance = LedgerMaintenance(ledger)
        self._use(config, policies)
        self._ask_for_conditions()
        self._engine = Engine(
            config,
            policies,
            new_id=self._new_id,
            chance=self._chance,
            offenders=self._maintenance.offenders(policies, self._started_at, config.mode),
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
    def plane(self) -> str:
        """The name of the plane that bans are brought to; empty while it does not hold what is wanted."""
        return "" if self._enforcement.problem else self._enforcement.plane.name

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
        self._enforcement.tell(self._engine.evaluator_state.active_bans, now)
        for incident in self._ledger.incidents_since(now - timedelta(days=30)):
            if incident.ended_at is None:  # the last agent died in it; what goes on is told as a new one
                self._ledger.save_incident(replace(incident, phase=Phase.CALM, ended_at=now))

    def tick(self) -> Tick:
        """Do one whole turn; sensors, ledger and plane may each fail in it without ending it."""
        now, utc = self._clock.monotonic(), self._clock.utcnow()
        self._enforcement.follow_ledger(utc)
        if self._protected_list.follow(self._sensors, now):
            self._engine.evaluator_state.protect(self._protected_list.known)
        self._follow_mode(now, utc)
        readings = self._sensors.read(now, sampling=self._sampling, proof=self._wants_proof)
        readings = self._short_lived.add_to(readings, self._sensors.ports)
        if self.record is not None:
            self.record(utc, readings, self._protected_list.known)
        assessment = self._detector.assess(readings, self._engine.evaluator_state.active_bans.ban_filter(utc))
        self._unsampled_pps = assessment.unsampled_pps
        self._short_lived.want(assessment.flood.unseen_pps, now)
        self._engine.evaluator_state.challenge = self.challenge()
        decision = self._follow_challenges(self._engine.decide(assessment, utc), assessment, now, utc)
        self._enforcement.add(decision.bans, decision.replaced)
        if decision.bans or assessment.completed is not None:
            self._exceptions = self._engine.proven_exceptions(utc)
        self._enforcement.bring(self._protected_list.known.networks, self._exceptions, now, utc)
        self._sampling, self._wants_proof = decision.wants_sampler, decision.wants_proof
        if self._sampling:
            self._sensors.begin_sampling(now)
        if self._config.mode is Mode.ENFORCE:
            self._ban_effect.follow(readings, self._engine.evaluator_state.active_bans, now, utc)
            self._ban_effect.trim(readings, decision.excess, self._engine.evaluator_state.containers)
        self._decision_log.write(decision, now, utc)
        self._totals.ticked(decision)
        tick = Tick(assessment, decision, self._sensors.failing)
        self._refusal = next(iter(decision.refusals), "")
        self.conditions.refresh()
        self._publisher.publish(lambda: self._status(tick, now, utc), now)
        self._maintenance.prune(now, utc)
        for observer in self.observers:
            observer(tick, now, utc)
        return tick

    def _follow_challenges(self, decision: Decision, assessment: Assessment, now: float, utc: datetime) -> Decision:
        """Have listeners accept cookies before anyone is challenged; where they do not, no one is from then on."""
        state = self._engine.evaluator_state
        challenged = state.active_bans.challenges > 0
        decision = self._cookies.follow(decision, assessment, now, utc, challenged=challenged)
        challenging = self.challenging
        if challenging is None:
            return decision
        ports = frozenset(listener.port for listener in assessment.pressure if not listener.namespace)
        if self._config.mode is Mode.DRY_RUN:
            challenging.survey(ports, now)
            return decision
        challenging.carry_options(self._cookies.timestamps)
        if challenged and not self._cookies.always:
            challenging.refuse(f"{SYN_COOKIES} is not 2, and listeners refuse cookies that they did not send")
        calm = self.phase is Phase.CALM
        challenging.follow(ports, lambda: state.proven.latest(MOST_PROVEN), now, used=challenged, calm=calm)
        challenging.compare(now, challenged=challenged, many=state.active_bans.challenges_of_many > 0)
        here = challenging.state
        if challenged and not here.works and here.known:
            decision = self._stop_challenges(decision, here.why_not, utc)
        return decision

    def _stop_challenges(self, decision: Decision, why: str, utc: datetime) -> Decision:
        """End every challenge; the next tick does without."""
        ended = [ban.id for ban in self._enforcement.bans.values() if ban.action.challenges]
        self._enforcement.add((), ended)
        self._ledger.end_bans(ended, utc, f"challenges stop: {why}")
        for ban in decision.bans:
            self._engine.evaluator_state.active_bans.remove(ban)
        return replace(decision, bans=tuple(ban for ban in decision.bans if not ban.action.challenges))

    def _rest(self, began: float, next_at: float, ends_at: float) -> float:
        """Wait until the next tick; return when it was due. While nothing stirs on a calm host, that is in a second."""
        glance, calm = self._sources.glance, self._config.cadence.calm
        quiet = self.phase is Phase.CALM and not (
            self._sampling or self._sensors.alerted(began) or len(self._engine.scores) or self._enforcement.behind
        )
        if glance is None or self.record is not None or not quiet or self._sensors.failing:
            self._wait(next_at - self._clock.monotonic())
            return next_at
        rested_until = min(max(began + REST_S, next_at), ends_at)
        while not (self._wait(next_at - self._clock.monotonic()) or self._stopping or next_at >= rested_until):
            now = self._clock.monotonic()
            if glance.stirred(now):
                break
            self._detector.rested(now)
            next_at = min(now + calm, rested_until)
        return next_at

    def _wait(self, seconds: float) -> bool:
        """Wait for the next tick, or for the challenge program to see SYNs become many; by source they count then."""
        onset = None if self.challenging is None or self.phase is not Phase.CALM else self.challenging.onset_fd
        if onset is None or self.challenging is None:
            return self._clock.wait(seconds)
        if select.select([onset], [], [], max(seconds, 0.0))[0]:
            self.challenging.woken()
            self._sensors.alert(self._clock.monotonic())
            return True
        return self._clock.wait(0.0)  # a signal may have come meanwhile

    def run(self, for_s: float | None = None) -> None:
        """Tick until ``stop`` or for ``for_s`` seconds; slower than asked where a tick would cost too much CPU."""
        ends_at = float("inf") if for_s is None else self._clock.monotonic() + for_s
        next_at = float("inf")
        while not self._stopping:
            began, cpu = self._clock.monotonic(), time.thread_time()
            if began >= ends_at:
                break
            again = self._reload.take(self._config)
            if again is not None:
                self._sampling = False
                self._sensors.rest()
                self._use(*again)
                self._engine.use(*again)
            sampled = self._sampling
            self.tick()
            self._resource_usage.ticked(self._clock.monotonic() - began, began - next_at)
            cost = time.thread_time() - cpu
            cadence = self._config.cadence
            alerted = self._sensors.alerted(began)
            every = cadence.calm if self.phase is Phase.CALM and not (self._sampling or alerted) else cadence.attack
            next_at = min(began + max(every, cost / cadence.cpu_share), ends_at)
            if alerted and self._sampling and not sampled:
                next_at = began  # what was counted since the onset waits to be judged
            next_at = self._rest(began, next_at, ends_at)

    def stop(self) -> None:
        """End the loop after the present tick."""
        self._stopping = True

    def reload(self, load: Loader) -> None:
        """Ask for config and policies to be read again before the next tick."""
        self._reload.ask(load)

    def close(self) -> None:
        """Free the sensors and, if so configured, take everything of ours out of the kernel."""
        self._end_challenges()
        self._sensors.close()
        self._short_lived.close()
        if self._config.on_exit == "flush" and self._config.mode is Mode.ENFORCE:
            self._enforcement.plane.flush()
            log.info("removed every rule of ours, as on_exit says", extra=event("stop"))

    def _end_challenges(self) -> None:
        """Put the operator's settings back, once the last challenged client has had time to send its ACK."""
        if self.challenging is not None and self._config.mode is Mode.ENFORCE:
            self.challenging.rest()
            if self._cookies.always and self._engine.evaluator_state.active_bans.challenges:
                self._clock.wait(LAST_ACK_S) and self._clock.wait(LAST_ACK_S)  # the first may be the signal's to end
        self._cookies.close(self._clock.utcnow())

    def _use(self, config: Config, policies: Sequence[Policy]) -> None:
        self._config = config
        self._cookies.use(config)
        self._policies = tuple(policies)
        self._sensors = SensorScheduler(config, self._sources)
        self._detector = Detector(policies, self._seed)

    def _new_id(self) -> str:
        return secrets.token_hex(6)  # of 32 bits, one in 20,000 bans would meet its like in a full ledger

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
        self._engine.evaluator_state.ends_by = mode_controller.ends_by(now, utc)

    def _enter(self, mode: Mode, mode_controller: ModeController, parts: ModeParts, now: float, utc: datetime) -> None:
        """Change the mode between two ticks; who is proven, the scores and the incident stay known."""
        dry_run = mode is Mode.DRY_RUN
        if dry_run:
            mode_controller.leave(self._enforcement.reconciler, self._protected_list.known.networks, now, utc)
        self._end_challenges()
        self._config = self._config.model_copy(update={"mode": mode})
        self._enforcement, self._cookies = parts.enforcement, parts.cookies
        self._cookies.adopt(now)
        if dry_run:
            self._enforcement.follow_ledger(utc, anyway=True)
        else:
            mode_controller.took_over(self._enforcement.bans.values())
            mode_controller.entered(utc)
        self._decision_log.set_dry_run(dry_run)
        self._ban_effect = BanEffect(self._ledger, self._enforcement, self._sources)
        self._engine.set_dry_run(dry_run, self._maintenance.known_offenders(self._policies, utc, mode))
        self._enforcement.tell(self._engine.evaluator_state.active_bans, utc)
        self._exceptions = self._engine.proven_exceptions(utc)

    def _status(self, tick: Tick, now: float, utc: datetime) -> Status:
        return build_status(
            tick.assessment,
            tick.decision,
            config=self._config,
            policies=self._policies,
            plane=self._enforcement.plane,
            sensors=self._sensors.health,
            conditions=self.conditions.all,
            scores=self._engine.scores,
            bans=len(self._enforcement.bans),
            proven=len(self._engine.evaluator_state.proven),
            started_at=self._started_at,
            now=utc,
            pid=os.getpid(),
            countermeasures=self._cookies.status(),
            leaks=self._ban_effect.leaks,
            bans_by=active_bans_by(self._enforcement.counts),
            challenges=self._challenge_status(),
            totals=self._totals.status(self._decision_log.verdicts, self._enforcement),
            sampling_one_in=self._sensors.sampling_one_in,
            ledger_bytes=self._ledger.size(),
            levels=self._levels(),
            mode_by=self._mode_controller.by(self._mode_by) if self._mode_controller else self._mode_by,
            mode_story=self._mode_controller.story if self._mode_controller else "",
            confirm_by=self._engine.evaluator_state.ends_by,
            agent=self._resource_usage.sum_up(now),
        )

    def _challenge_status(self) -> ChallengeStatus:
        state = self._engine.evaluator_state
        here = state.challenge
        return ChallengeStatus(works=here.works, why_not=here.why_not, targets=state.active_bans.challenges)

    def _levels(self) -> tuple[CapacityLevel, ...]:
        """Return how full the kernel's fullest place is, and how much of the budget of standing bans is spent."""
        kernel, most = self._enforcement.admission.level, self._config.budget.active_bans
        budget = CapacityLevel(
            "automatic bans", self._engine.evaluator_state.active_bans.automatic, most, "budget.active_bans"
        )
        return (*([kernel] if kernel else []), budget)

    def _ask_for_conditions(self) -> None:
        ask = self.conditions.ask
        ask(Code.PROTECTED_UNKNOWN, lambda: self._protected_list.problems)
        ask(Code.PROTECTED_GAP, self._protected_list.notes)
        ask(Code.PLANE_FAILED, lambda: self._enforcement.problem)
        ask(Code.REPAIRS_DISPUTED, lambda: self._enforcement.disputed)
        ask(Code.CAPACITY_FULL, lambda: self._enforcement.admission.problem)
        ask(Code.CAPACITY_NEAR, lambda: {level.key: level.warning for level in self._levels()})
        ask(Code.MODE_CHANGE_FAILED, lambda: self._mode_controller.problem if self._mode_controller else "")
        ask(Code.PANIC, lambda: self._mode_controller.panic_story if self._mode_controller else "", fix=OVER)
        ask(Code.LEAK, lambda: self._ban_effect.problems, fix="synguard doctor")
        ask(Code.SYN_COOKIES_FAILED, lambda: self._cookies.problem)
        ask(Code.LEDGER_FAILED, lambda: self._enforcement.writer.problem or self._decision_log.problem)
        ask(Code.RELOAD_REFUSED, lambda: self._reload.problem, fix="synguard policy check")
        ask(Code.BANS_REFUSED, lambda: "" if self._protected_list.problems else self._refusal)
        ask(Code.SENSOR_FAILED, lambda: self._sensors.failures)
        ask(Code.SAMPLER_BLIND, lambda: unsampled(self._unsampled_pps))
        ask(Code.STATUS_FILE_FAILED, lambda: self._publisher.problem)


def unsampled(pps: float) -> str:
    """Return the sentence on SYNs that sampling does not show; empty where there are none."""
    if not pps:
        return ""
    return (
        f"the sampler is blind: {pps:,.0f} SYNs a second are turned away and not seen, as they come in fragments or "
        "behind many IPv6 extension headers; sources are judged by half-open sockets alone"
    )
