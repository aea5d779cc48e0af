"""Building an agent for this host: directories, lock, ledger, plane, sensors; each failure is one sentence."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from synguard import capabilities
from synguard.agent.agent import Agent
from synguard.agent.alerts import alerting
from synguard.agent.challenging import Challenging
from synguard.agent.config_reload import Loader
from synguard.agent.false_positives import FalsePositiveWatch
from synguard.agent.fleet import in_fleet
from synguard.agent.history import History
from synguard.agent.kernel_watch import KernelWatch
from synguard.agent.lock import AgentLock
from synguard.agent.metrics_endpoint import measuring
from synguard.agent.mode_controller import ModeController
from synguard.agent.mode_parts import ModeParts, mode_parts
from synguard.agent.quiet import Glance
from synguard.agent.sensor_scheduler import HostSensors
from synguard.agent.syn_sensor import CountedOrSampled
from synguard.agent.systemd import ServiceManager
from synguard.clock import Clock, SystemClock
from synguard.enforcer.choose import choose_plane
from synguard.enforcer.dry_run import DryRunPlane
from synguard.enforcer.glance import glance
from synguard.enforcer.locks import APPLY_LOCK
from synguard.enforcer.plane import Plane
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.enforcer.split_plane import split_plane
from synguard.ledger import LEDGER_FILE, Ledger
from synguard.logs import event
from synguard.memory import give_back, kept_for_good
from synguard.model import Mode
from synguard.notify.services import host_name
from synguard.operator.enablement import EnablementFile
from synguard.operator.panic import PanicFile
from synguard.policy.models import Config, Policy
from synguard.private import private_directory
from synguard.readers import share
from synguard.sensors.counters import CounterFiles
from synguard.sensors.cpu import read_cpu
from synguard.sensors.ended_connections import EndedConnections
from synguard.sensors.every_namespace import EveryNamespace
from synguard.sensors.namespace_glance import NamespaceGlance
from synguard.sensors.protected import read_protected
from synguard.sensors.sockets import SocketTables
from synguard.sensors.syn_counts import CountedSyns
from synguard.sensors.syn_sampler import SynSampler
from synguard.sensors.tcp_metrics import read_finished_peers
from synguard.status.conditions import Code

log: Final = logging.getLogger(__name__)

LEDGER_WAIT_S: Final = 0.5
"""How long one tick may wait for another process's write; a verb's takes milliseconds."""


@contextmanager
def agent_for(
    config: Config,
    policies: tuple[Policy, ...],
    clock: SystemClock,
    *,
    insists: bool = False,
    keep: frozenset[str] | None = None,
) -> Iterator[Agent]:
    """Give an agent that has adopted what stands; everything it holds is freed afterwards.

    The mode is the config's, or what ``synguard enable`` ordered, which is then followed at run time; whoever started
    the agent ``insists`` on the config's by an option. Once directories, ledger and plane are there, every capability
    is given up but those to ``keep`` (None: none is), so that what is started from then on never has more.

    Raises:
        NotPermittedError: A directory or the plane needs more rights.
        RefusedError: Others could change what is in a directory.
        PlaneUnavailableError: No plane works on this host.
        SynguardError: Another agent runs, or the ledger cannot be used.
    """
    private_directory(config.runtime_dir, "runtime_dir")
    private_directory(config.state_dir, "state_dir")
    _let_read(config)
    with ExitStack() as held:
        held.enter_context(AgentLock(config.runtime_dir))
        ledger = held.enter_context(Ledger.open(config.state_dir / LEDGER_FILE, config.ledger))
        ledger.hurry(LEDGER_WAIT_S)

        challenging = Challenging(config, clock.utcnow) if config.challenge.enabled == "auto" else None
        sensors = host_sensors(config, challenging)

        def parts(mode: Mode) -> ModeParts:
            return parts_for(config.model_copy(update={"mode": mode}), ledger, clock, sensors, challenging)

        orders = None if insists else EnablementFile(config.state_dir)
        panic, by = PanicFile(config.state_dir), "option" if insists else "config"
        mode_controller = ModeController(orders, parts, ledger, config.mode, panic=panic, otherwise=by)
        mode = mode_controller.wanted(clock.monotonic())
        made = parts(mode)
        if keep is not None:
            if challenging is not None and "CAP_BPF" not in keep:
                now = clock.monotonic()
                challenging.survey_for_good(lambda: [one.port for one in SocketTables().listeners(now)], now)
            capabilities.give_up_all_but(keep)
        agent = Agent(
            config.model_copy(update={"mode": mode}),
            policies,
            sensors=sensors,
            parts=made,
            ledger=ledger,
            clock=clock,
            mode_controller=mode_controller,
            challenging=challenging,
        )
        if challenging is not None:
            held.callback(challenging.close)
            agent.conditions.ask(Code.CHALLENGES_OFF, lambda: challenging.trouble, fix="synguard doctor")
        held.callback(agent.close)
        for observer in (
            History(ledger),
            FalsePositiveWatch(
                ledger,
                config.proven.lifetime,
                lambda: agent.mode is Mode.DRY_RUN,
                lambda: agent.sensing.protected.embedding,
            ),
        ):
            held.callback(observer.close)
            agent.observers.append(observer.observe)
        watch = KernelWatch(
            lambda: choose_plane(config), lambda: agent.by_hand, lambda: mode_controller.panic is not None
        )
        agent.observers.append(watch.observe)
        agent.conditions.ask(Code.BANS_NOT_IN_KERNEL, lambda: watch.problem, fix="synguard doctor")
        agent.conditions.ask(Code.KERNEL_UNKNOWN, lambda: watch.note)
        dispatcher = held.enter_context(alerting(agent, config, clock))
        held.enter_context(measuring(agent, config.metrics, dispatcher))
        held.enter_context(in_fleet(agent, config, clock, host_name(config.notify)))
        agent.adopt()
        give_back()
        yield agent


def _let_read(config: Config) -> None:
    """Let the members of the group read; where that cannot be, no one but root may, and it is said."""
    try:
        for directory in (config.runtime_dir, config.state_dir):
            share(directory, config.read_group)
    except OSError as error:
        log.warning(
            "the group %s cannot be let read (%s): run the agent with Group=%s",
            config.read_group,
            error.strerror,
            config.read_group,
            extra=event("readers"),
        )


def parts_for(
    config: Config, ledger: Ledger, clock: Clock, sensors: HostSensors, challenging: Challenging | None = None
) -> ModeParts:
    """Return what the config's mode is made of: a plane that is checked, and SYN cookies.

    Raises:
        NotPermittedError: The process lacks a capability.
        PlaneUnavailableError: No plane works on this host.
    """
    plane = plane_for(config, clock)
    if config.mode is Mode.ENFORCE:
        plane = _with_challenges(plane, ledger, clock, challenging)
    reconciler = Reconciler(plane, config.runtime_dir / APPLY_LOCK, glance=glance)
    return mode_parts(config, ledger, plane, reconciler, sensors)


def _with_challenges(plane: Plane, ledger: Ledger, clock: Clock, challenging: Challenging | None) -> Plane:
    """Return the plane with the challenge program beside it; without one, bans that need it are ended."""
    why = "they are switched off (challenge.enabled)" if challenging is None else challenging.load(clock.monotonic())
    if challenging is not None and not why:
        return split_plane(plane, challenging.plane)
    now = clock.utcnow()
    left = ledger.at_interface(now)
    if left:
        ledger.end_bans(left, now, f"no challenges: {why}")
    return plane


def plane_for(config: Config, clock: Clock) -> Plane:
    """Return the plane that the mode asks for, checked.

    Raises:
        NotPermittedError: The process lacks a capability.
        PlaneUnavailableError: No plane works on this host.
    """
    if config.mode is Mode.DRY_RUN:
        return DryRunPlane(clock.utcnow, config.ceilings.members)
    plane = choose_plane(config)
    text = "bans are in %s; show them with: %s"
    log.info(text, plane.name, plane.show_command, extra=event("plane", plane=plane.name))
    return plane


def host_sensors(config: Config, challenging: Challenging | None = None) -> HostSensors:
    """Return this host's sensors, which see into containers unless the config says otherwise."""
    most, counters = config.sampler.kept_per_second, CounterFiles()
    tables = SocketTables(arrived=counters.arrived)

    sampler = SynSampler(most)
    syns = sampler if challenging is None else CountedOrSampled(sampler, CountedSyns(challenging.counts, most))
    if config.containers.watch == "auto":
        everywhere = EveryNamespace(tables, counters)
        behind = NamespaceGlance(everywhere.containers)
        return HostSensors(
            sockets=everywhere,
            syns=syns,
            counters=everywhere.counters,
            finished_peers=everywhere.finished_peers,
            protected=everywhere.protected,
            cpu=read_cpu,
            glance=Glance(tables.count_half_open, counters.read, behind.stirs, counters.segments),
            ended=EndedConnections(everywhere.openers, everywhere.as_published),
            containers=everywhere,
        )
    return HostSensors(
        sockets=tables,
        syns=syns,
        counters=counters.read,
        finished_peers=read_finished_peers,
        protected=lambda allow, known: read_protected(allow, known=known),
        cpu=read_cpu,
        glance=Glance(tables.count_half_open, counters.read, segments=counters.segments),
        ended=EndedConnections(),
    )


def run_until_signalled(agent: Agent, clock: SystemClock, load: Loader, for_s: float | None) -> None:
    """Run the agent; SIGTERM and SIGINT end it after the present tick, SIGHUP reads config and policies again.

    A service manager is told of all of it, and after ticks that the agent is alive.
    """
    manager = ServiceManager.here()
    agent.observers.append(manager.tick)
    agent.publisher.readers.append(manager.read)

    def stop(number: int, _frame: object) -> None:
        name = signal.Signals(number).name
        log.info("%s: stopping", name, extra=event("stop", signal=name))
        manager.stopping()
        agent.stop()
        clock.interrupt()

    def reload(_number: int, _frame: object) -> None:
        agent.reload(manager.reloading(load))
        clock.interrupt()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, reload)
    try:
        kept_for_good()
        manager.ready()
        agent.run(for_s)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
