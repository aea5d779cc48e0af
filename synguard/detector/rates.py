"""Kernel counters to rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from synguard.readings import CounterReading

DROPPED: Final = ("TCPReqQFullDrop",)
"""SYNs that a queue full to the listener's backlog turned into nothing; see ``dropped_rate`` for the others."""
SKEW: Final = 0.05
"""Share of the accept queue's overflows by which two counters may differ, since they are not read at one moment."""
LEAST: Final = 4
"""Fewer drops than this between two readings may be such a difference, where the accept queue overflows at all."""


def rate(before: CounterReading | None, after: CounterReading, names: Sequence[str]) -> float:
    """Return how fast the sum of some counters grew, per second.

    A counter that the kernel does not have counts as 0; one that went backwards (namespace recreated) or a first
    reading gives 0.0, not a spike.

    Source: Linux Documentation/networking/snmp_counter.rst.
    """
    if before is None or after.at <= before.at:
        return 0.0
    grown = 0
    for name in names:
        grown += after.values.get(name, 0) - before.values.get(name, 0)
    return max(grown, 0) / (after.at - before.at)


def handshake_rates(before: CounterReading | None, after: CounterReading) -> dict[str, Any]:
    """Return the fields of ``HandshakeRates`` between two readings; 0.0 each for a first one."""
    return {
        "completed_pps": rate(before, after, ["PassiveOpens"]),
        "cookies_sent_pps": rate(before, after, ["SyncookiesSent"]),
        "cookies_received_pps": rate(before, after, ["SyncookiesRecv"]),
        "dropped_pps": dropped_rate(before, after),
        "accept_overflows_pps": rate(before, after, ["ListenOverflows"]),
    }


ABORTED: Final = (
    "TCPAbortOnData", "TCPAbortOnClose", "TCPAbortOnMemory", "TCPAbortOnTimeout", "TCPAbortOnLinger",
)  # fmt: skip
"""Resets that an application or the kernel sends on connections of its own."""


def refused_rate(before: CounterReading | None, after: CounterReading) -> float:
    """Return the packets a second that were answered with a reset because nothing listens or no connection is there.

    The kernel counts every reset it sends in ``OutRsts``, those on its own connections in ``ABORTED`` as well, and
    those on connections that are destroyed, as ours of banned sources, in ``EstabResets`` alone. That counts resets
    of peers, too: what is returned errs low by them.
    """
    own = max(rate(before, after, ABORTED), rate(before, after, ["EstabResets"]))
    return max(rate(before, after, ["OutRsts"]) - own, 0.0)


def dropped_rate(before: CounterReading | None, after: CounterReading) -> float:
    """Return the SYNs a second that a full SYN queue turned into nothing (``tcp_syncookies=0``).

    ``TCPReqQFullDrop`` tells of queues that are full to the listener's backlog. Without cookies the kernel already
    refuses unknown clients once a queue holds three quarters of ``tcp_max_syn_backlog``, and counts those in
    ``ListenDrops`` alone (net/ipv4/tcp_input.c, ``tcp_conn_request``), together with connections that a full accept
    queue refused; those are ``ListenOverflows`` too.
    """
    full = rate(before, after, DROPPED)
    if before is None or after.at <= before.at:
        return full
    overflows = rate(before, after, ["ListenOverflows"])
    others = rate(before, after, ["ListenDrops"]) - overflows
    noise = max(SKEW * overflows, LEAST / (after.at - before.at)) if overflows else 0.0
    return max(full, others if others >= noise else 0.0)
