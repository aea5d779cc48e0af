"""Which parts of the readings are recorded, and in which columns.

What neither detector nor decision looks at is left out: queues and cookies of sockets, and counters beyond
``is_recorded``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from synguard.columns import KINDS
from synguard.readings import Listener, Protected, Readings, SynSample
from synguard.socket_table import SocketTable

LEFT_OUT: Final = frozenset({"recv_queue", "send_queue", "cookie"})
"""Columns of sockets that are not recorded and come back as zeros."""

SYNS_LEFT_OUT: Final = "rest"
"""What is not recorded of SYNs: only the running challenge program, which a replay has not, has a use for it."""

NAMESPACE: Final = "namespace"
"""Column of the number of the network namespace that a socket lives in, 0 for ours."""

_COUNTERS: Final = frozenset({"PassiveOpens", "AttemptFails", "EstabResets", "OutRsts", "EmbryonicRsts"})
_COUNTER_GROUPS: Final = ("Syncookies", "TCPReqQFull", "TCPAbortOn", "Listen")


def _column_kinds(owner: Any) -> dict[str, str]:
    """Return the columns of a dataclass by their annotations: one added to the readings is recorded too."""
    return {item.name: KINDS[str(item.type)] for item in fields(owner) if item.type in KINDS}


SOCKETS: Final = _column_kinds(SocketTable)
SYNS: Final = _column_kinds(SynSample)
LISTENER: Final = [item.name for item in fields(Listener)]


@dataclass(frozen=True, slots=True)
class Moment:
    """One recorded tick."""

    utc: datetime
    readings: Readings
    protected: Protected
    lost: int
    """Rows that were too many to record."""


def is_recorded(counter: str) -> bool:
    """Return whether a kernel counter is recorded: those that speak of SYN queues, cookies, resets, completion."""
    return counter in _COUNTERS or counter.startswith(_COUNTER_GROUPS)


def columns_written() -> dict[str, dict[str, str]]:
    """Return the columns that this release writes: table → name → kind."""
    sockets = {name: kind for name, kind in SOCKETS.items() if name not in LEFT_OUT}
    return {"sockets": sockets | {NAMESPACE: "u4"}, "addresses": {"high": "u8", "low": "u8"}, "syns": dict(SYNS)}
