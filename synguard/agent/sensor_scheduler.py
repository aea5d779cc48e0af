"""Every sensor at its own pace: reads what is due; a failure is reported once and tried again later."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from synguard.agent.quiet import Glance
from synguard.agent.sensor_pace import SensorPace
from synguard.agent.syn_sensor import ALERT_S, SynSensor, how_sampled
from synguard.columns import U64
from synguard.detector.assessment import STRAINED, strain_of
from synguard.detector.pressure import pressure_on
from synguard.errors import SynguardError
from synguard.logs import event
from synguard.netlink import open_sock_diag
from synguard.policy.models import Allow, Config
from synguard.readings import (
    EVERY_PORT,
    CounterReading,
    CpuReading,
    KnownParts,
    Listener,
    Protected,
    Readings,
    SocketReading,
    SynSample,
)
from synguard.sensors.ended_connections import EndedConnections
from synguard.sensors.every_namespace import EveryNamespace
from synguard.socket_table import SocketTable, local_ports
from synguard.status.model import SensorStatus

log: Final = logging.getLogger(__name__)

_Seen = TypeVar("_Seen")

CPU_EVERY_S: Final = 0.25
"""Between two looks at the CPUs' times, which are read during an attack alone."""


class SocketSensor(Protocol):
    """What the agent needs of ``sensors.sockets.SocketTables`` and of ``EveryNamespace``."""

    @property
    def source(self) -> str:
        """How sockets are read."""

    def half_open(self, now: float) -> SocketReading:
        """Return sockets in ``SYN_RECV`` whose local port listens."""

    def connections(self, now: float) -> SocketReading:
        """Return sockets past the handshake whose local port listens."""

    def listeners(self, now: float) -> tuple[Listener, ...]:
        """Return the listening TCP sockets that matter beside the half-open ones of the same moment."""

    def served_ports(self, now: float) -> frozenset[int]:
        """Return every port that a socket listens on."""

    def close(self) -> None:
        """Free what it holds."""


@dataclass(frozen=True, slots=True)
class HostSensors:
    """This host's sensors, as ``bootstrap.host_sensors`` gives them; tests put their own here."""

    sockets: SocketSensor
    syns: SynSensor
    counters: Callable[[float], CounterReading]
    finished_peers: Callable[[float], tuple[U64, U64]]
    """Seconds back → (high, low) columns of peers whose connection ended since."""
    protected: Callable[[Allow, KnownParts], Protected]
    """Configured allow-list, and what is known from before → who may never be banned."""
    cpu: Callable[[float], CpuReading] | None = None
    """None where it is not read."""
    ended: EndedConnections | None = None
    monotonic: Callable[[], float] = time.monotonic
    """The clock that readings are stamped with."""
    glance: Glance | None = None
    containers: EveryNamespace | None = None
    """Where other network namespaces are watched: what reads sockets, counters and the rest of them too."""

    def opener(self, namespace: str) -> Callable[[], socket.socket] | None:
        """Return what opens a socket-diagnosis socket in a network namespace; None where that is gone."""
        if not namespace:
            return open_sock_diag
        return self.containers.opener(namespace) if self.containers else None

    def as_there(self, namespace: str, rows: SocketTable) -> SocketTable:
        """Return sockets of one namespace with their ports as they are there."""
        return self.containers.as_there(namespace, rows) if self.containers else rows


class SensorScheduler:
    """Reads whatever is due; a sensor that fails is absent from the readings, never empty in them."""

    def __init__(self, config: Config, sensors: HostSensors) -> None:
        cadence = config.cadence
        self._sensors = sensors
        self._allow = config.allow
        self._lookback_s = config.proven.lifetime
        self._may_sample = config.sampler.enabled
        share = cadence.cpu_share
        self._paces = {
            "half_open": SensorPace(0.0, share),
            "connections": SensorPace(cadence.connections, share),
            "counters": SensorPace(0.0, share),
            "finished_peers": SensorPace(5 * cadence.connections, share / 5),
            "syn_sampler": SensorPace(0.0, share),
            "protected": SensorPace(cadence.protected, share / 5),
        }
        if sensors.cpu is not None:
            self._paces["cpu"] = SensorPace(CPU_EVERY_S, share / 5)
        if sensors.containers is not None:
            self._paces["containers"] = SensorPace(0.0, share / 5)
        self._added = _stamp(config.allow.added)
        self._around = ""
        self.ports: frozenset[int] = frozenset()
        self._failures: dict[str, str] = {}
        self._one_in = 1
        self._alert_until = float("-inf")

    @property
    def sampling_one_in(self) -> int:
        """One in how many SYNs the sampler keeps; 0 while it rests."""
        return self._one_in if self._sensors.syns.running else 0

    @property
    def health(self) -> dict[str, SensorStatus]:
        """Sensor name → how it fares; how sockets are read, where that matters."""
        health = {name: pace.status for name, pace in self._paces.items()}
        if health["half_open"].ok:
            health["half_open"] = SensorStatus(ok=True, detail=self._sensors.sockets.source)
        if health["syn_sampler"].ok:
            how = how_sampled(self._sensors.syns, self._one_in)
            health["syn_sampler"] = SensorStatus(ok=True, detail=how if self._may_sample else "switched off")
        if "containers" in health and health["containers"].ok:
            health["containers"] = SensorStatus(ok=True, detail=self._around)
        return health

    @property
    def failing(self) -> frozenset[str]:
        """Names of the sensors that cannot read at present."""
        return frozenset(name for name, pace in self._paces.items() if not pace.status.ok)

    @property
    def failures(self) -> dict[str, str]:
        """Sensor name → why it cannot read, one sentence; sensors that can are absent."""
        return {
            name: f"sensor {name}: {pace.status.detail}" for name, pace in self._paces.items() if not pace.status.ok
        }

    def read(self, now: float, *, sampling: bool, proof: bool = False) -> Readings:
        """Return what is due at ``now``, and completed connections whether due or not where ``proof`` is asked for.

        SYNs are sampled from a call with ``sampling`` on to the next with it off; after an alert it is on at once if a
        queue is under strain.
        """
        self._failures = {}
        sensors = self._sensors
        self._look_around(now)
        half_open, listeners = self._try("half_open", now, lambda: self._waiting(now)) or (None, ())
        if self.alerted(now):
            sampling |= strain_of(pressure_on(listeners, half_open)) >= STRAINED
        return Readings(
            at=now,
            half_open=half_open,
            listeners=listeners,
            connections=self._try("connections", now, lambda: sensors.sockets.connections(now), asked=proof),
            counters=self._try("counters", now, lambda: sensors.counters(now)),
            syns=self._sample(now, sampling=(sampling or self._blind) and self._may_sample),
            proven=self._try("finished_peers", now, lambda: sensors.finished_peers(self._lookback_s)),
            port_mapping=sensors.containers.port_mapping() if sensors.containers else {},
            cpu=self._read_cpu(now) if sampling else None,
            failures=dict(self._failures),
        )

    def _waiting(self, now: float) -> tuple[SocketReading, tuple[Listener, ...]]:
        """Return half-open sockets, and the listeners that matter beside them."""
        sockets = self._sensors.sockets
        half_open = sockets.half_open(now)
        listeners = sockets.listeners(now)
        served, others = sockets.served_ports(now), frozenset(local_ports(half_open.table))
        self.ports = served if others <= served else served | others
        return half_open, listeners

    def _read_cpu(self, now: float) -> CpuReading | None:
        read = self._sensors.cpu
        return None if read is None else self._try("cpu", now, lambda: read(now))

    def begin_sampling(self, now: float) -> None:
        """Open the sampler at once, so that the next call of ``read`` has its first SYNs."""
        if self._may_sample and not self._sensors.syns.running:
            self._open_sampler(now)

    def alert(self, now: float) -> None:
        """Count SYNs from now on, for a moment, so that a ``read`` with ``sampling`` soon after has them at once."""
        syns = self._sensors.syns
        if syns.running and self._alert_until > float("-inf"):
            self._try("syn_sampler", now, lambda: syns.read(self._sensors.monotonic(), self._sampled_ports()))  # anew
        self.begin_sampling(now)
        self._alert_until = now + ALERT_S

    def alerted(self, now: float) -> bool:
        """Return whether SYNs are counted though no one asks for them yet."""
        return now < self._alert_until and self._sensors.syns.running

    def protected(self, now: float, known: KnownParts) -> Protected | None:
        """Return who must be protected, or None while that is not due; what cannot be read stays as it is ``known``.

        It is due at once where ``synguard allow`` has written its file.
        """
        stamp = _stamp(self._allow.added)
        written, self._added = stamp != self._added, stamp
        return self._try("protected", now, lambda: self._sensors.protected(self._allow, known), asked=written)

    def rest(self) -> None:
        """End sampling; it begins again when it is asked for."""
        if self._sensors.syns.running:
            self._sensors.syns.close()

    def close(self) -> None:
        """Free every sensor."""
        self.rest()
        self._sensors.sockets.close()

    @property
    def _blind(self) -> bool:
        """Whether sockets behind this host are not read, so that only SYNs to any port show a flood on them."""
        return self._sensors.containers is not None and self._sensors.containers.blind

    def _look_around(self, now: float) -> None:
        containers = self._sensors.containers
        if containers is None:
            return
        around = self._try("containers", now, lambda: containers.look(now))
        if around is not None and around != self._around:
            if self._around or containers.watches:
                log.info("containers: %s", around, extra=event("containers"))
            self._around = around

    def _sampled_ports(self) -> frozenset[int]:
        if self._blind:
            return EVERY_PORT
        published = self._sensors.containers.published() if self._sensors.containers else frozenset()
        return self.ports if published <= self.ports else self.ports | published

    def _sample(self, now: float, *, sampling: bool) -> SynSample | None:
        syns = self._sensors.syns
        if not sampling:
            if now >= self._alert_until:
                self.rest()
            return None
        self._alert_until = float("-inf")
        if not syns.running:
            self._open_sampler(now)
            return None
        sample = self._try("syn_sampler", now, lambda: syns.read(self._sensors.monotonic(), self._sampled_ports()))
        if sample is not None:
            self._one_in = sample.one_in
        elif not self._paces["syn_sampler"].status.ok:
            syns.close()
        return sample

    def _open_sampler(self, now: float) -> None:
        self._try("syn_sampler", now, lambda: self._sensors.syns.open(self._sensors.monotonic()))
        pace = self._paces["syn_sampler"]
        if pace.status.ok:
            pace.due_at = now  # opening is dear, once; the first look must not wait for it

    def _try(self, name: str, now: float, read: Callable[[], _Seen], *, asked: bool = False) -> _Seen | None:
        pace = self._paces[name]
        if not pace.due(now, asked=asked):
            return None
        began = time.thread_time()
        try:
            seen = read()
        except SynguardError as error:
            self._failures[name] = str(error)
            pace.failed(now, str(error), name)
            return None
        pace.succeeded(now, time.thread_time() - began, name)
        return seen


def _stamp(path: Path | None) -> tuple[int, int]:
    """Return what changes whenever a file does; zeros where there is none."""
    try:
        found = path.stat() if path else None
    except OSError:
        found = None
    return (found.st_mtime_ns, found.st_ino) if found else (0, 0)
