"""SYNs on the wire, a bounded number a second, while a flood hides from the socket table behind a full SYN queue."""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

import numpy as np

from synguard.capabilities import how_to_get
from synguard.columns import U8, U32
from synguard.errors import SensorError
from synguard.readings import EVERY_PORT, SynSample
from synguard.sensors.bpf import nothing, syns
from synguard.sensors.packet_ring import FRAME, FRAME6, PacketRing
from synguard.sensors.packets import SynColumns, decode_ipv4, decode_ipv6
from synguard.sensors.port_mask import port_mask

Taken: TypeAlias = tuple[U8, U32]
"""Packets and their lengths, as a ring gives them."""

MAX_ONE_IN: Final = 1 << 20
_ETH_P_IP: Final = 0x0800
_ETH_P_IPV6: Final = 0x86DD
_MIN_FRAMES: Final = 4096
_MAX_FRAMES: Final = 65_536
"""A second's worth of kept SYNs for each family, 256 and 512 bytes each: 15 MiB at the default 20,000."""

_SHORTEST_JUDGED_S: Final = 0.05
"""In less time than this a burst is no rate; shorter windows are added up."""
_CALM_JUDGED_S: Final = 0.5


@dataclass(slots=True)
class _Tally:
    kept: int = 0
    time_s: float = 0.0

    def add(self, kept: int, window_s: float) -> None:
        self.kept += kept
        self.time_s += window_s


class OneIn:
    """How many SYNs one kept SYN stands for: a power of two that follows the rate.

    It rises at once, to where at most ``kept_per_second`` are kept; it falls once half a second has brought less than a
    quarter of that, to where half of it would be kept. So it does not flap.
    """

    def __init__(self, kept_per_second: int) -> None:
        self.value = 1
        self._limit = kept_per_second
        self._lately = _Tally()
        self._calm = _Tally()

    def follow(self, kept: int, window_s: float) -> bool:
        """Take in how many the filter kept (read or lost) in a window; return whether ``value`` changed."""
        before = self.value
        self._lately.add(kept, window_s)
        self._calm.add(kept, window_s)
        excess = self._lately.kept / max(self._lately.time_s, _SHORTEST_JUDGED_S) / self._limit
        if excess > 1:
            self.value = min(self.value << math.ceil(math.log2(excess)), MAX_ONE_IN)
        elif self._calm.time_s >= _CALM_JUDGED_S:
            self._fall(self._calm.kept / self._calm.time_s / self._limit)
            self._calm = _Tally()
        if self._lately.time_s >= _SHORTEST_JUDGED_S:
            self._lately = _Tally()
        if self.value != before:
            self._lately, self._calm = _Tally(), _Tally()
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

    counting: ClassVar[bool] = False

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
                    stack.enter_context(PacketRing(protocol, self._frames, frame))
                    for protocol, frame in ((_ETH_P_IP, FRAME), (_ETH_P_IPV6, FRAME6))
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
            SensorError: Not open, or the kernel refused a new filter, after which it is closed.
        """
        if not self._rings:
            raise SensorError("the SYN sampler is not open")
        one_in, lost_before, lost6_before = self._one_in.value, self._lost, self._rings[1].lost
        try:
            taken, until, after = self._take(lost_before, ports)
        except OSError as error:
            self.close()  # else it would go on with a filter that keeps nothing, and see nothing
            raise SensorError(_refused(error)) from error
        window_s, self._since = until - self._since, after
        columns = _to_ports(_decode(taken), ports)
        return SynSample(
            at=now,
            window_s=window_s,
            one_in=one_in,
            source_high=columns.source_high,
            source_low=columns.source_low,
            local_port=columns.local_port,
            ttl=columns.ttl,
            tcp_window=columns.tcp_window,
            options=columns.options,
            more=np.zeros(len(columns), np.uint32),
            lost=self._lost - lost_before,
            lost_ipv6=self._rings[1].lost - lost6_before,
        )

    def close(self) -> None:
        """Free sockets and memory; no effect while closed."""
        self._rings = ()
        self._stack.close()

    @property
    def _lost(self) -> int:
        return sum(ring.lost for ring in self._rings)

    def _take(self, lost_before: int, ports: frozenset[int]) -> tuple[list[Taken], float, float]:
        """Return what was kept, the end of its window and the start of the next one, which differ by a pause if any."""
        taken = self._drain()
        until = self._monotonic()
        kept = sum(len(lengths) for _, lengths in taken) + self._lost - lost_before
        if not self._one_in.follow(kept, until - self._since) and (self._ports is ports or self._ports == ports):
            return taken, until, until
        # Stop, take the rest, go on: so no packet kept at the old rate is counted at the new one.
        for ring in self._rings:
            ring.attach(nothing())
        until = self._monotonic()
        taken += self._drain()
        self._ports = ports
        self._attach()
        return taken, until, self._monotonic()

    def _drain(self) -> list[Taken]:
        """Return what both rings hold, IPv4 and IPv6 in turn; decoded later, as a pause should be short."""
        return [ring.read() for ring in self._rings]

    def _attach(self) -> None:
        for version, ring in zip((4, 6), self._rings, strict=True):
            ring.attach(syns(version, self._one_in.value, self._ports))


def _decode(taken: list[Taken]) -> SynColumns:
    return SynColumns.joined(
        [
            (decode_ipv6 if number % 2 else decode_ipv4)(packets, lengths)
            for number, (packets, lengths) in enumerate(taken)
        ]
    )


def _to_ports(columns: SynColumns, ports: frozenset[int]) -> SynColumns:
    if not len(columns) or ports is EVERY_PORT:
        return columns
    return columns.where(port_mask(ports)[columns.local_port])


def _refused(error: OSError) -> str:
    if error.errno in (errno.EPERM, errno.EACCES):
        return f"cannot sample SYNs: a packet socket needs the capability CAP_NET_RAW; {how_to_get(['CAP_NET_RAW'])}"
    if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
        return "cannot sample SYNs: this kernel has no packet sockets (CONFIG_PACKET)"
    return f"cannot sample SYNs: {error.strerror or error}"
