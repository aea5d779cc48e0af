"""Sends SYNs with chosen sources at a chosen rate: ``python -m tests.support.lab.syn_flood PLAN-JSON``.

Frames are built by the thousand with numpy and handed to an ``AF_PACKET`` socket with ``sendmmsg``, without a
Python object per packet. On veth the work of router and victim for a packet is done in softirq on the CPU that
sends it, so the generator's CPU time is theirs too.

Prints one line ``{"event": "started", "first_at": …}`` and, at the end, ``{"event": "finished", …}``; times are
``CLOCK_MONOTONIC``, the same in every namespace.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.support.lab.flood_plan import FloodPlan
from tests.support.lab.frames import WIDEST, GroupFrames, Route
from tests.support.lab.topology import ATTACK_GATEWAY_MAC, UPLINK, VICTIM4, VICTIM6

_TICK_S: Final = 0.001
"""Sleep between bursts: at 10,000/s a burst is ten packets."""
_BATCH: Final = 2048
_BURST: Final = 256
"""Most packets in one system call, so that a signal and the clock are looked at in between."""
_FORGIVEN_S: Final = 0.1
"""Debt beyond this is dropped, not sent as one burst: a generator that was off the CPU must not fake a spike."""

_SOL_PACKET: Final = 263
_PACKET_QDISC_BYPASS: Final = 20
_MSGHDR: Final = np.dtype(
    {
        "names": ["iov", "iovlen", "sent"],
        "formats": [np.uint64, np.uint64, np.uint32],
        "offsets": [16, 24, 56],
        "itemsize": 64,
    }
)
"""``struct mmsghdr`` on 64-bit Linux; name and control stay empty."""
_IOVEC: Final = np.dtype([("base", np.uint64), ("length", np.uint64)])


class Batch:
    """Prebuilt frames and the ``mmsghdr`` array that points at them."""

    def __init__(self, plan: FloodPlan, route: Route, size: int) -> None:
        rng = np.random.default_rng(plan.seed)
        self._rng, self._size = rng, size
        self._groups = [GroupFrames(group, route, plan.ports, rng) for group in plan.groups]
        weights = np.array([group.weight for group in plan.groups])
        self._shares = weights / weights.sum()
        self._rows = np.zeros((size, WIDEST), np.uint8)
        self._iovecs = np.zeros(size, _IOVEC)
        self._iovecs["base"] = self._rows.ctypes.data + WIDEST * np.arange(size, dtype=np.uint64)
        self.headers = np.zeros(size, _MSGHDR)
        self.headers["iov"] = self._iovecs.ctypes.data + _IOVEC.itemsize * np.arange(size, dtype=np.uint64)
        self.headers["iovlen"] = 1
        self.left = 0

    @property
    def next_header(self) -> int:
        """Memory address of the first unsent header."""
        return int(self.headers.ctypes.data) + _MSGHDR.itemsize * (self._size - self.left)

    def refill(self) -> None:
        """Build a whole new batch."""
        chosen = self._rng.choice(len(self._groups), self._size, p=self._shares)
        for number, group in enumerate(self._groups):
            index = np.flatnonzero(chosen == number)
            if len(index):
                self._rows[index, : group.length] = group.build(len(index))
                self._iovecs["length"][index] = group.length
        self.left = self._size


class Sender:
    """A raw socket on the uplink."""

    def __init__(self, link: str = UPLINK) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
        self._socket.bind((link, 0))
        self._sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
        self._sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]

    def send(self, batch: Batch, count: int) -> int:
        """Send up to ``count`` frames of the batch and return how many went out."""
        sent: int = self._sendmmsg(self._socket.fileno(), batch.next_header, min(count, batch.left), 0)
        if sent < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        batch.left -= sent
        return sent


class Flood:
    """The paced loop."""

    def __init__(self, plan: FloodPlan, batch: Batch, sender: Sender) -> None:
        self._plan, self._batch, self._sender = plan, batch, sender
        self._stopped = False
        self.sent = 0
        self.forgiven = 0
        self._burst_ns: list[float] = []
        self.first_at = 0.0
        self.last_at = 0.0

    def stop(self, *_: object) -> None:
        """End the flood; fit as a signal handler."""
        self._stopped = True

    def run(self) -> None:
        """Send until time, count or a signal ends it."""
        plan = self._plan
        most = min(plan.count or 2**62, round(plan.pps * plan.duration_s))
        self._batch.refill()
        self.first_at = self.last_at = time.monotonic()
        _say({"event": "started", "first_at": self.first_at})
        while not self._stopped and self.sent + self.forgiven < most:
            self._burst(self._due(time.monotonic(), most))

    def _due(self, now: float, most: int) -> int:
        """Return how many packets should have gone out by now and have not."""
        owed = min(int(self._plan.pps * (now - self.first_at)) + 1, most) - self.sent - self.forgiven
        excess = owed - max(int(self._plan.pps * _FORGIVEN_S), _BURST)
        if excess > 0:
            self.forgiven += excess
            owed -= excess
        return owed

    def _burst(self, due: int) -> None:
        if due <= 0:
            time.sleep(_TICK_S)
            return
        if self._batch.left == 0:
            self._batch.refill()
        busy = time.thread_time_ns()
        sent = self._sender.send(self._batch, min(due, _BURST))
        self._burst_ns.append((time.thread_time_ns() - busy) / max(sent, 1))
        self.sent += sent
        self.last_at = time.monotonic()

    @property
    def packet_ns(self) -> float:
        """CPU time of a packet from the system call on, as a quarter of the bursts had it or less.

        A quarter, since on a machine that others use too most bursts cost what the neighbours' cache misses add.
        """
        return float(np.percentile(self._burst_ns, 25)) if self._burst_ns else 0.0


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _route() -> Route:
    mac = Path(f"/sys/class/net/{UPLINK}/address").read_text().strip()
    return Route(_mac(mac), _mac(ATTACK_GATEWAY_MAC), VICTIM4, VICTIM6)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def main() -> None:
    """Run the plan given as JSON."""
    plan = FloodPlan.model_validate_json(sys.argv[1])
    if plan.cpu is not None:
        os.sched_setaffinity(0, {plan.cpu})
    batch = Batch(plan, _route(), max(64, min(_BATCH, int(plan.pps / 20))))
    flood = Flood(plan, batch, Sender())
    signal.signal(signal.SIGTERM, flood.stop)
    signal.signal(signal.SIGINT, flood.stop)
    busy = time.process_time()
    flood.run()
    _say(
        {
            "event": "finished",
            "first_at": flood.first_at,
            "last_at": flood.last_at,
            "sent": flood.sent,
            "forgiven": flood.forgiven,
            "asked_pps": plan.pps,
            "cpu_s": time.process_time() - busy,
            "packet_ns": flood.packet_ns,
        }
    )


if __name__ == "__main__":
    main()
