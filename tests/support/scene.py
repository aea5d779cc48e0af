"""A host that lives through made-up readings: the whole agent but for kernel and sensors."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import numpy as np

from synguard.addresses import format_network
from synguard.agent.agent import Agent
from synguard.agent.mode_controller import ModeController
from synguard.agent.mode_parts import ModeParts, mode_parts
from synguard.agent.quiet import Glance
from synguard.agent.sensor_scheduler import HostSensors
from synguard.agent.tick import Tick
from synguard.columns import U64
from synguard.decision.ladder import ChallengeState
from synguard.decision.syn_headers import LOOKS
from synguard.enforcer.dry_run import DryRunPlane
from synguard.enforcer.plane import Plane
from synguard.enforcer.reconcile.reconciler import Reconciler
from synguard.errors import SensorError
from synguard.ledger import LEDGER_FILE, Ledger
from synguard.model import Mode
from synguard.operator.enablement import EnablementFile
from synguard.operator.panic import PanicFile
from synguard.policy.models import Allow, Config, Policy
from synguard.readings import (
    CONTAINERS,
    CounterReading,
    CpuReading,
    CpuTimes,
    KnownParts,
    Listener,
    Protected,
    SocketReading,
    SynSample,
)
from synguard.socket_table import SocketTable, TcpState
from tests.support.fake_ended import FakeEnded
from tests.support.fake_plane import FakePlane
from tests.support.fake_sysctl import FakeSysctl
from tests.support.manual_clock import ManualClock
from tests.support.traffic import Counts, Header, columns, listener, natural, sockets, syns, table

BOOT = "this-boot"
"""What names the boot of a scene's host."""


@dataclass(slots=True)
class Weather:
    """What the network does at the moment; a test sets it and lets time pass."""

    half_open: Counts = field(default_factory=dict)
    connections: Counts = field(default_factory=dict)
    short_pps: Counts = field(default_factory=dict)
    turned_away_pps: Counts = field(default_factory=dict)
    """Connections that the service closes at once, without an answer."""
    """Address → connections a second that are over before anyone looks at the table."""
    syn_pps: Counts = field(default_factory=dict)
    """Address → SYNs a second."""
    header_of: Callable[[str], Header] = natural
    """Address → what one SYN of it looks like; asked anew in every sample."""
    whole_headers: bool = False
    """Whether the program counts SYNs, and knows all of their headers."""
    cookies_pps: float = 0.0
    cookies_back_pps: float = 0.0
    dropped_pps: float = 0.0
    completed_pps: float = 0.0
    overflows_pps: float = 0.0
    resets_pps: float = 0.0
    refused_pps: float = 0.0
    destroyed_pps: float = 0.0
    """Connections that are destroyed, each with a reset to its peer."""
    saturated: bool = False
    """Whether receiving packets takes all of a CPU."""
    backlog: int = 128
    accept_queue: int = 0
    protected: dict[str, str] = field(default_factory=dict)
    """Network → reason."""
    containers: dict[str, str] = field(default_factory=dict)
    """Network of a container of this host that serves nothing → reason."""
    serving: dict[str, str] = field(default_factory=dict)
    """The same of one that serves something."""
    problems: tuple[str, ...] = ()
    finished: tuple[str, ...] = ()
    broken: frozenset[str] = frozenset()
    """Names of sensors that cannot read."""


class FakeSensors:
    """Turns the weather into readings."""

    source = "sock_diag"
    counting = False

    def __init__(self, clock: ManualClock, port: int) -> None:
        self.weather = Weather()
        self.port = port
        self.running = False
        self._clock = clock
        self._totals: dict[str, float] = {}
        self._counted_at = clock.monotonic()
        self._sampled_at = clock.monotonic()
        self._owed: dict[str, float] = {}
        self._cpu_at = clock.monotonic()
        self._cpu_ticks = self._cpu_interrupts = 0.0

    def listeners(self, now: float) -> tuple[Listener, ...]:
        """Return the web server."""
        return (listener(self.port, self.weather.backlog, self.weather.accept_queue),)

    def served_ports(self, now: float) -> frozenset[int]:
        """Return the ports that listen."""
        return frozenset(one.port for one in self.listeners(now))

    def half_open(self, now: float) -> SocketReading:
        """Return the sockets in ``SYN_RECV``."""
        self._may_fail("half_open")
        return sockets(now, table(self.weather.half_open, self.port))

    def count_half_open(self) -> int:
        """Return how many sockets are in ``SYN_RECV``."""
        self._may_fail("half_open")
        return sum(self.weather.half_open.values())

    def connections(self, now: float) -> SocketReading:
        """Return the established sockets; the same ones as long as the weather holds."""
        self._may_fail("connections")
        return sockets(now, self._established())

    def counters(self, now: float) -> CounterReading:
        """Return counters that grew at the weather's rates."""
        self._may_fail("counters")
        passed, self._counted_at = now - self._counted_at, now
        weather = self.weather
        for name, pps in (
            ("SyncookiesSent", weather.cookies_pps),
            ("TCPReqQFullDrop", weather.dropped_pps),
            (
                "PassiveOpens",
                weather.completed_pps + sum(weather.short_pps.values()) + sum(weather.turned_away_pps.values()),
            ),
            ("ListenOverflows", weather.overflows_pps),
            ("SyncookiesRecv", weather.cookies_back_pps),
            ("EmbryonicRsts", weather.resets_pps),
            ("OutRsts", weather.refused_pps + weather.destroyed_pps),
            ("EstabResets", weather.destroyed_pps),
        ):
            self._totals[name] = self._totals.get(name, 0.0) + pps * passed
        return CounterReading(now, {name: int(total) for name, total in self._totals.items()})

    def cpu(self, now: float) -> CpuReading:
        """Return CPU times since the scene began: all of one in interrupts while the weather says so."""
        passed, self._cpu_at = now - self._cpu_at, now
        self._cpu_ticks += 100 * passed
        self._cpu_interrupts += 100 * passed * self.weather.saturated
        return CpuReading(now, (CpuTimes(0, int(self._cpu_interrupts), int(self._cpu_ticks)),), 0, 0)

    def finished_peers(self, max_age_s: float) -> tuple[U64, U64]:
        """Return the peers whose connections ended."""
        return columns(self.weather.finished) if self.weather.finished else (np.empty(0, np.uint64),) * 2

    def protected(self, allow: Allow, known: KnownParts) -> Protected:
        """Return who must be protected."""
        from ipaddress import ip_network

        named = {ip_network(word): why for word, why in self.weather.protected.items()}
        containers = {ip_network(word): why for word, why in self.weather.containers.items()}
        serving = {ip_network(word): why for word, why in self.weather.serving.items()}
        return Protected(
            named | serving | dict.fromkeys(allow.addresses, "allow-listed"),
            self.weather.problems,
            never_cut_off=containers,
            parts={CONTAINERS: serving},
        )

    def open(self, now: float) -> None:
        """Begin to sample."""
        self._may_fail("syn_sampler")
        self.running, self._sampled_at, self._owed = True, now, {}

    def read(self, now: float, ports: frozenset[int]) -> SynSample:
        """Return the SYNs since the last read, at exactly the weather's rates."""
        window, self._sampled_at = now - self._sampled_at, now
        counts = {}
        for address, pps in self.weather.syn_pps.items():
            owed = self._owed.get(address, zlib.crc32(address.encode()) / 2**32) + pps * window
            self._owed[address] = owed % 1.0
            if owed >= 1:
                counts[address] = int(owed)
        weather = self.weather
        return syns(now, counts, window, self.port, header_of=weather.header_of, whole=weather.whole_headers)

    def close(self) -> None:
        """Stop."""
        self.running = False

    def _established(self) -> SocketTable:
        return table(self.weather.connections, self.port, TcpState.ESTABLISHED)

    def _may_fail(self, name: str) -> None:
        if name in self.weather.broken:
            raise SensorError(f"{name} cannot be read: the test says so")


class Scene:
    """One host, its agent, and the weather."""

    def __init__(
        self,
        tmp_path: Path,
        *policies: Policy,
        config: Config | None = None,
        plane: Plane | None = None,
        port: int = 80,
        follows: bool = False,
        challenge: ChallengeState | None = None,
        glances: bool = False,
    ) -> None:
        self.challenge = challenge or ChallengeState()
        """Whether SYNs can be challenged on this host; a test may change it at any time."""
        self.clock = ManualClock()
        self.sensors = FakeSensors(self.clock, port)
        settings = (config or Config()).model_copy(update={"state_dir": tmp_path, "runtime_dir": tmp_path})
        self.config, self.policies = settings, policies
        self.sysctl = FakeSysctl()
        self.ledger = Ledger.open(tmp_path / LEDGER_FILE, settings.ledger)
        self.plane = plane or DryRunPlane(self.clock.utcnow)
        self._lock = tmp_path / "apply.lock"
        self._glances = glances
        """Whether the agent rests while nothing stirs, as it does on a real host."""
        self._follows = follows
        """Whether the agent follows ``synguard enable``; the plane is then the one to enforce with."""
        self.agent = self._new_agent()

    @property
    def fake(self) -> FakePlane:
        """The fake plane that the scene was given."""
        assert isinstance(self.plane, FakePlane)
        return self.plane

    @property
    def weather(self) -> Weather:
        """What the network does now."""
        return self.sensors.weather

    def lasts(self, seconds: float, every: float | None = None) -> list[Tick]:
        """Let the weather last; return every tick, at the agent's own cadence unless told."""
        ticks, ends_at = [], self.clock.monotonic() + seconds
        while self.clock.monotonic() < ends_at - 1e-9:
            tick = self.agent.tick()
            ticks.append(tick)
            busy = tick.decision.wants_sampler or tick.decision.incident is not None
            cadence = self.config.cadence
            self.clock.advance(every or (cadence.attack if busy else cadence.calm))
        return ticks

    def has_seen_served_clients(self, addresses: Sequence[str], looks: int = LOOKS) -> None:
        """Let the program have looked at the SYNs of these clients so many times in calm."""
        state, now = self.agent._engine.evaluator_state, self.clock.monotonic()
        for _ in range(looks):
            state.served_headers.look(syns(now, dict.fromkeys(addresses, 1), 1.0, whole=True), now)

    def lives(self, seconds: float) -> None:
        """Let the agent run its own loop, with reloads and waits; a tick takes no CPU time, however busy the host."""
        with patch("time.thread_time", return_value=0.0):
            self.agent.run(for_s=seconds)

    def restarts(self) -> None:
        """Let the agent die without a word and another one start."""
        self.sensors.close()
        self.agent = self._new_agent()

    def banned(self) -> set[str]:
        """Return the targets that the ledger has banned now, dry-run bans in dry-run."""
        dry_run = self.config.mode is Mode.DRY_RUN
        bans = self.ledger.active_bans(self.clock.utcnow(), dry_run=dry_run)
        return {format_network(ban.target) for ban in bans.values()}

    def held(self) -> set[str]:
        """Return the targets that the plane holds."""
        return {format_network(held.target) for held in self.plane.read().bans.values()}

    def _parts(self, mode: Mode) -> ModeParts:
        dry_run = mode is Mode.DRY_RUN
        plane = DryRunPlane(self.clock.utcnow) if dry_run and self._follows else self.plane
        config = self.config.model_copy(update={"mode": mode})
        return mode_parts(config, self.ledger, plane, Reconciler(plane, self._lock), self._host_sensors, self.sysctl)

    def _new_agent(self) -> Agent:
        self._host_sensors = HostSensors(
            sockets=self.sensors,
            syns=self.sensors,
            counters=self.sensors.counters,
            finished_peers=self.sensors.finished_peers,
            protected=self.sensors.protected,
            cpu=self.sensors.cpu,
            ended=FakeEnded(  # type: ignore[arg-type]  # as much of it as is asked for
                self.clock,
                lambda: self.sensors.weather.short_pps,
                self.sensors.port,
                lambda: self.sensors.weather.turned_away_pps,
            ),
            monotonic=self.clock.monotonic,
            glance=Glance(self.sensors.count_half_open, self.sensors.counters) if self._glances else None,
        )
        state_dir = self.config.state_dir
        mode_controller = ModeController(
            EnablementFile(state_dir) if self._follows else None,
            self._parts,
            self.ledger,
            self.config.mode,
            boot=lambda: BOOT,
            panic=PanicFile(state_dir) if self._follows else None,
        )
        mode = mode_controller.wanted(self.clock.monotonic())
        agent = Agent(
            self.config.model_copy(update={"mode": mode}),
            self.policies,
            sensors=self._host_sensors,
            parts=self._parts(mode),
            ledger=self.ledger,
            clock=self.clock,
            seed=7,
            mode_controller=mode_controller,
            challenge=lambda: self.challenge,
        )
        agent.adopt()
        return agent
