"""Looks at made-up hosts, for tests of what ``synguard top`` shows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from synguard.ledger.records import Counted
from synguard.model import Ban, Hits, KernelBan, Mode, VerdictKind
from synguard.status.model import FloodStatus, ListenerStatus, Status, TargetStatus
from synguard.top.snapshot import KernelSnapshot, Snapshot

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def listener(port: int, half_open: int = 0, backlog: int = 128, **more: Any) -> ListenerStatus:
    """Return what listens, censored where it holds more than fit."""
    given: dict[str, Any] = {"process": "nginx[7]", "accept_queue": 0, "censored": half_open > backlog} | more
    return ListenerStatus(port=port, half_open=half_open, backlog=backlog, fill=half_open / backlog, **given)


def target(word: str, score: float = 120.0, **more: Any) -> TargetStatus:
    """Return a target on forgeable evidence."""
    given: dict[str, Any] = {"kind": VerdictKind.WATCH, "policy": "web", "reason": "syn_rate 90/s / 25"} | more
    return TargetStatus(target=word, score=score, **({"evidence": ("syn_rate 90/s / 25",)} | given))


def status(**more: Any) -> Status:
    """Return a healthy agent that enforces, but for what is given."""
    given: dict[str, Any] = {
        "mode": Mode.ENFORCE,
        "plane": "iptables-sets",
        "show_command": "true",
        "healthy": True,
        "pid": 4711,
        "started_at": NOW - timedelta(hours=2),
        "last_reading_at": NOW,
        "policies": ("web",),
        "flood": FloodStatus(syn_pps=10023.0, half_open=129),
    }
    return Status(**(given | more))


def snapshot(bans: Iterable[Ban] = (), packets: int = 0, before: int | None = None, **more: Any) -> Snapshot:
    """Return a look at a host whose kernel holds every real ban, each with as many packets."""
    standing = {ban.id: ban for ban in bans}
    real = [ban for ban in standing.values() if not ban.dry_run]
    given: dict[str, Any] = {
        "mode": Mode.ENFORCE,
        "policies": ("web",),
        "running": True,
        "status": status(),
        "bans": standing,
        "counted": {ban.id: Counted(packets, packets, None) for ban in real},
        "kernel": KernelSnapshot(101.0, held(real, packets)),
        "before": None if before is None else KernelSnapshot(100.0, held(real, before)),
    }
    return Snapshot(NOW, **(given | more))


def held(bans: Iterable[Ban], packets: int) -> dict[str, KernelBan]:
    """Return what the kernel holds of these bans."""
    return {
        ban.id: KernelBan(ban.id, ban.target, ban.scope, ban.action, ban.ports, ban.expires_at, Hits(packets, 0))
        for ban in bans
    }
