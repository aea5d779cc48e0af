"""SYNs on the wire, a bounded number a second, while a flood hides from the socket table behind a full SYN queue."""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import numpy as np

from synguard.errors import SensorError
from synguard.readings import SynSample
from synguard.sensors.bpf import nothing, syns
from synguard.sensors.packet_ring import PacketRing
from synguard.sensors.packets import SynColumns, decode_ipv4, decode_ipv6

MAX_ONE_IN: Final = 1 << 20
_ETH_P_IP: Final = 0x0800
_ETH_P_IPV6: Final = 0x86DD
_MIN_FRAMES: Final = 4096
_MAX_FRAMES: Final = 65_536
"""A second's worth of kept SYNs for each family, 256 bytes each: twice 5 MiB at the default 20,000."""

_SHORTEST_JUDGED_S: Final = 0.05
"""In less time than this a burst is no rate."""
_CALM_JUDGED_S: Final = 0.5


class OneIn:
    """How many SYNs one kept SYN stands for: a power of two that follows the rate.

    It rises at once, to where at most ``kept_per_second`` are kept; it falls once half a second has brought less than a
    quarter of that, to where half of it would be kept. So it does not flap.
    """

    def __init__(self, kept_per_second: int) -> None:
        self.value = 1
        self._limit = kept_per_second
        self._kept = 0
        self._time_s = 0.0

    def follow(self, kept: int, window_s: float) -> bool:
        """Take in how many the filter kept (read or lost) in a window; return whether ``value`` changed."""
        before = self.value
        excess = kept / max(window_s, _SHORTEST_JUDGED_S) / self._limit
        self._kept += kept
        self._time_s += window_s
        if excess > 1:
            self.value = min(self.value << math.ceil(math.log2(excess)), MAX_ONE_IN)
        elif self._time_s >= _CALM_JUDGED_S:
            self._fall(self._kept / self._time_s / self._limit)
            self._kept, self._time_s = 0, 0.0
        if self.value != before:
            self._kept, self._time_s = 0, 0.0
        return self.value != before

    def _fall(self, use: float) -> None:
        if use < 0.25:
            steps = math.floor(math.log2(0.5 / use)) if use > 0 else self.value.bit_length()
            self.value = max(self.value >> steps, 1)


class SynSampler:
    """SYNs that arrive in this network namespace, each kept by the kernel with the same chance.

    Seen is what reaches the IP layer, on any interface but loopback: before netfilter, so a banned source is still
    seen, and with the destination port as sent, before any DNAT. The destination address is not looked at: SYNs that
    are forwarded, to containers say, are seen too when their ports are named. See ``bpf.syns`` for what is not seen.
    While closed it holds nothing and costs nothing.
    """

    def __init__(
        self, kept_per_second: int, frames: int | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._kept_per_second = kept_per_second
        self._frames = frames or min(max(kept_per_second, _MIN_FRAMES), _MAX_FRAMES)
        self._monotonic = monotonic
        self._one_in = OneIn(kept_per_second)
        self._ports: frozenset[int] | None = None
        self._rings: tuple[PacketRing, ...] = ()
        self._stack = ExitStack()
        self._since = 0.0

    @property
    def running(self) -> bool:
        """Whether it is open."""
        return bool(self._rings)

    def open(self, now: float) -> None:
        """Begin to sample, SYNs to all ports until the first read names some; no effect while open.

        Raises:
            SensorError: No permission, no memory, or a kernel without packet sockets.
        """
        if self._rings:
            return
        self._one_in, self._ports = OneIn(self._kept_per_second), None
        try:
            with ExitStack() as stack:
                self._rings = tuple(
                    stack.enter_context(PacketRing(protocol, self._frames)) for protocol in (_ETH_P_IP, _ETH_P_IPV6)
                )
                self._attach()
                self._stack = stack.pop_all()
        except OSError as error:
            self._rings = ()
            raise SensorError(_refused(error)) from error
        self._since = self._monotonic()

    def read(self, now: float, ports: frozenset[int]) -> SynSample:
        """Return the SYNs to ``ports`` kept since the last read; ``window_s`` is measured at the ring, not by ``now``.

        A change of ``ports`` or of ``one_in`` takes effect from this read on: the sample is whole under the old ones.
        ``lost`` counts both families and, where ports are not named to the kernel, all ports.

        Raises:
            SensorError: Not open, or the kernel refused a new filter.
        """
        if not self._rings:
            raise SensorError("the SYN sampler is not open")
        one_in = self._one_in.value
        lost_before = self._lost
        taken = [self._drain()]
        until = self._monotonic()
        kept = sum(len(columns) for columns in taken) + self._lost - lost_before
        rate_changed = self._one_in.follow(kept, until - self._since)
        try:
            if rate_changed or self._ports != ports:
                # Stop, take the rest, go on: so no packet kept at the old rate is counted at the new one.
                for ring in self._rings:
                    ring.attach(nothing())
                until = self._monotonic()
                taken.append(self._drain())
                self._ports = ports
                self._attach()
        except OSError as error:
            raise SensorError(_refused(error)) from error
        window_s, self._since = until - self._since, (self._monotonic() if len(taken) > 1 else until)
        columns = _to_ports(SynColumns.joined(taken), ports)
        return SynSample(
            at=now,
            window_s=window_s,
            one_in=one_in,
            source_high=columns.source_high,
            source_low=columns.source_low,
            local_port=columns.local_port,
            ttl=columns.ttl,
            tcp_window=columns.tcp_window,
            lost=self._lost - lost_before,
        )

    def close(self) -> None:
        """Free sockets and memory; no effect while closed."""
        self._rings = ()
        self._stack.close()

    @property
    def _lost(self) -> int:
        return sum(ring.lost for ring in self._rings)

    def _drain(self) -> SynColumns:
        v4, v6 = self._rings
        return SynColumns.joined([decode_ipv4(*v4.read()), decode_ipv6(*v6.read())])

    def _attach(self) -> None:
        for version, ring in zip((4, 6), self._rings, strict=True):
            ring.attach(syns(version, self._one_in.value, self._ports))


def _to_ports(columns: SynColumns, ports: frozenset[int]) -> SynColumns:
    wanted = np.zeros(1 << 16, dtype=np.bool_)
    wanted[list(ports)] = True
    return columns.where(wanted[columns.local_port])


def _refused(error: OSError) -> str:
    if error.errno in (errno.EPERM, errno.EACCES):
        return (
            "cannot sample SYNs: a packet socket needs the capability CAP_NET_RAW; run as root, "
            "or give it to the service (AmbientCapabilities=CAP_NET_RAW)"
        )
    if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
        return "cannot sample SYNs: this kernel has no packet sockets (CONFIG_PACKET)"
    return f"cannot sample SYNs: {error.strerror or error}"
