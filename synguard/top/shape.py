"""A look as JSON: what ``status --json`` says, and bans with what they stop."""

from __future__ import annotations

from typing import Any

from synguard.clock import rfc3339
from synguard.report.shapes import ban_shape, moment
from synguard.top.snapshot import Snapshot


def snapshot_shape(snapshot: Snapshot, most_bans: int | None = None) -> dict[str, Any]:
    """Return the look; ``bans`` holds those that end first, ``in_kernel`` is None where the kernel was not read."""
    held = None if snapshot.kernel is None else {one.target for one in snapshot.kernel.held.values()}
    active_bans = [ban for ban in (snapshot.bans or {}).values() if ban.active(snapshot.at)]
    active_bans.sort(key=lambda ban: (ban.expires_at is None, ban.expires_at or snapshot.at, ban.id))
    bans = []
    for ban in active_bans[:most_bans]:
        counted, rate = snapshot.counted.get(ban.id), snapshot.rate(ban.id)
        bans.append(
            ban_shape(ban, snapshot.at)
            | {
                "in_kernel": None if held is None else not ban.dry_run and ban.target in held,
                "packets": 0 if ban.dry_run else snapshot.packets(ban.id),
                "packets_pps": None if rate is None else round(rate, 1),
                "last_hit_at": moment(counted.last_hit_at) if counted else None,
            }
        )
    overview = snapshot.overview
    if not snapshot.alive and snapshot.sockets is not None:
        overview["pressure"] = [one.model_dump(mode="json") for one in snapshot.sockets.listeners]
        overview["flood"]["half_open"] = snapshot.sockets.half_open
        overview["targets"] = [one.model_dump(mode="json") for one in snapshot.sockets.sources]
    return {
        "at": rfc3339(snapshot.at),
        **overview,
        "bans_left_out": len(active_bans) - len(bans),
        "bans": bans,
        "kernel_bans": None if snapshot.kernel is None else len(snapshot.kernel.held),
    }
